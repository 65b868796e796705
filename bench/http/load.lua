-- The load of `make bench-http`: GETs of random keys, DEPTH of them in one write. All requests are made before the
-- run, so that the client spends its time on sending and reading. Prints what happened as one line of JSON.
-- Arguments: DEPTH KEYS

local BATCHES = 4096
local batches = {}
local at = 0

function init(args)
  local depth, keys = tonumber(args[1]), tonumber(args[2])
  math.randomseed(1)
  for i = 1, BATCHES do
    local requests = {}
    for j = 1, depth do
      requests[j] = wrk.format("GET", string.format("/v1/keys/key:%08d", math.random(0, keys - 1)))
    end
    batches[i] = table.concat(requests)
  end
end

function request()
  at = at % BATCHES + 1
  return batches[at]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '\n{"requests":%d,"duration_us":%d,"failed":%d,"latency_us_p50":%d,"latency_us_p99":%d}\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
