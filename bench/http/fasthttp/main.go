// Command fasthttp is the other side of `make bench-http`: kvd's GET /v1/keys/{key} on fasthttp, the engine under
// Fiber. It answers with the same headers and the same values from a map with 256 locked shards, and does nothing
// that kvd does beyond that: no deletes, no batches, no conditions. Fiber adds routing and middleware on top, so what
// is measured here is the best that Fiber could do.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"hash/maphash"
	"log"
	"net"
	"net/url"
	"sync"

	"github.com/valyala/fasthttp"
)

const shards = 256

type record struct {
	value, etag, revision []byte
}

type shard struct {
	sync.RWMutex
	records map[string]*record
}

type store struct {
	seed   maphash.Seed
	shards [shards]shard
}

// fill stores what the driver stores in kvd: keys counted from 0, values of the same length.
func fill(keys, valueBytes int) *store {
	s := &store{seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].records = make(map[string]*record)
	}
	for i := 0; i < keys; i++ {
		key := fmt.Sprintf("key:%08d", i)
		revision := fmt.Sprint(i + 1)
		s.shardOf([]byte(key)).records[key] = &record{
			value:    bytes.Repeat([]byte{'v'}, valueBytes),
			etag:     []byte(`"e1b2c3d4-` + revision + `"`),
			revision: []byte(revision),
		}
	}
	return s
}

func (s *store) shardOf(key []byte) *shard {
	return &s.shards[maphash.Bytes(s.seed, key)%shards]
}

func (s *store) get(key []byte) *record {
	shard := s.shardOf(key)
	shard.RLock()
	defer shard.RUnlock()
	return shard.records[string(key)]
}

var (
	route       = []byte("/v1/keys/")
	contentType = []byte("application/octet-stream")
	// Names in fasthttp's canonical form, so that it does not have to make them so for each answer.
	etag     = []byte("Etag")
	revision = []byte("Kvd-Revision")
	fixed    = [][2][]byte{
		{[]byte("Accept-Ranges"), []byte("bytes")},
		{[]byte("X-Content-Type-Options"), []byte("nosniff")},
		{[]byte("Content-Security-Policy"), []byte("default-src 'none'; sandbox")},
		{[]byte("Cross-Origin-Resource-Policy"), []byte("same-origin")},
	}
)

func (s *store) handle(ctx *fasthttp.RequestCtx) {
	// The path as it was sent: fasthttp's own would have merged `//` and resolved `..`, which are parts of keys.
	path := ctx.Request.Header.RequestURI()
	if !ctx.IsGet() || !bytes.HasPrefix(path, route) {
		ctx.Error("only GET "+string(route), fasthttp.StatusNotFound)
		return
	}
	key := path[len(route):]
	if bytes.IndexByte(key, '%') >= 0 {
		decoded, err := url.PathUnescape(string(key))
		if err != nil {
			ctx.Error(err.Error(), fasthttp.StatusBadRequest)
			return
		}
		key = []byte(decoded)
	}
	record := s.get(key)
	if record == nil {
		ctx.Error("no such key", fasthttp.StatusNotFound)
		return
	}
	header := &ctx.Response.Header
	header.SetContentTypeBytes(contentType)
	header.SetCanonical(etag, record.etag)
	header.SetCanonical(revision, record.revision)
	for _, pair := range fixed {
		header.SetCanonical(pair[0], pair[1])
	}
	ctx.Response.SetBodyRaw(record.value)
}

func main() {
	keys := flag.Int("keys", 10_000, "number of keys")
	valueBytes := flag.Int("value-bytes", 64, "length of each value")
	flag.Parse()

	store := fill(*keys, *valueBytes)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"listen\":[\"%s\"]}\n", listener.Addr())
	server := &fasthttp.Server{Handler: store.handle, NoDefaultServerHeader: true}
	log.Fatal(server.Serve(listener))
}
