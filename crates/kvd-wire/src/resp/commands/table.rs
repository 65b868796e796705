//! The table of commands, in order of their names: `name arity [flags] keys group since complexity`, then the syntax of the
//! arguments, a summary, and who reads them. What is not here is an unknown command.

use super::{Flags, Group, KeyArguments, Record, expiry, keys, others, strings};

macro_rules! records {
    ($($name:literal $arity:literal [$($flag:ident)*] $keys:ident $group:ident $since:literal $complexity:literal
        $syntax:literal $summary:literal $module:ident::$build:ident;)*) => {
        &[$(Record {
            name: $name,
            arity: $arity,
            flags: Flags(0)$(.with(Flags::$flag))*,
            keys: KeyArguments::$keys,
            group: Group::$group,
            since: $since,
            complexity: $complexity,
            syntax: $syntax,
            summary: $summary,
            build: $module::$build,
        }),*]
    };
}

/// All commands.
pub static RECORDS: &[Record] = records! {
    "append" 3 [WRITE DENYOOM FAST] ONE String "2.0.0" "O(N) with N being the length of the value"
        "key value" "Appends to the value of a key. Creates the key if it doesn't exist." strings::append;
    "auth" -2 [NOSCRIPT LOADING STALE FAST NO_AUTH] NONE Connection "1.0.0" "O(1)"
        "[username] password" "Authenticates the connection." others::auth;
    "bgsave" -1 [ADMIN NOSCRIPT NO_MULTI] NONE Server "1.0.0" "O(1)"
        "[SCHEDULE]" "Has a snapshot made, and doesn't wait for it." others::bgsave;
    "client" -2 [LOADING STALE] NONE Connection "2.4.0" "Depends on subcommand."
        "" "A container for client connection commands." others::container;
    "client|getname" 2 [NOSCRIPT LOADING STALE] NONE Connection "2.6.9" "O(1)"
        "" "Returns the name of the connection." others::client_getname;
    "client|help" 2 [LOADING STALE] NONE Connection "5.0.0" "O(1)"
        "" "Returns helpful text about the different subcommands." others::help;
    "client|id" 2 [NOSCRIPT LOADING STALE] NONE Connection "5.0.0" "O(1)"
        "" "Returns the unique client ID of the connection." others::client_id;
    "client|info" 2 [NOSCRIPT LOADING STALE] NONE Connection "6.2.0" "O(1)"
        "" "Returns information about the connection." others::client_info;
    "client|list" -2 [ADMIN NOSCRIPT LOADING STALE] NONE Connection "2.4.0" "O(N) where N is the number of client connections"
        "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID client-id...]" "Lists open connections." others::client_list;
    "client|no-evict" 3 [ADMIN NOSCRIPT LOADING STALE] NONE Connection "7.0.0" "O(1)"
        "ON|OFF" "Sets the client eviction mode of the connection. No connection is evicted." others::client_no_evict;
    "client|setinfo" 4 [NOSCRIPT LOADING STALE] NONE Connection "7.2.0" "O(1)"
        "LIB-NAME libname|LIB-VER libver" "Sets information specific to the client or connection." others::client_setinfo;
    "client|setname" 3 [NOSCRIPT LOADING STALE] NONE Connection "2.6.9" "O(1)"
        "connection-name" "Sets the connection name." others::client_setname;
    "command" -1 [LOADING STALE] NONE Server "2.8.13" "O(N) where N is the total number of commands"
        "" "Returns detailed information about all commands." others::command;
    "command|count" 2 [LOADING STALE] NONE Server "2.8.13" "O(1)"
        "" "Returns a count of commands." others::command_count;
    "command|docs" -2 [LOADING STALE] NONE Server "7.0.0" "O(N) where N is the number of commands to look up"
        "[command-name...]" "Returns documentary information about one, multiple or all commands." others::command_docs;
    "command|help" 2 [LOADING STALE] NONE Server "5.0.0" "O(1)"
        "" "Returns helpful text about the different subcommands." others::help;
    "command|info" -2 [LOADING STALE] NONE Server "2.8.13" "O(N) where N is the number of commands to look up"
        "[command-name...]" "Returns information about one, multiple or all commands." others::command_info;
    "config" -2 [LOADING STALE] NONE Server "2.0.0" "Depends on subcommand."
        "" "A container for server configuration commands." others::container;
    "config|get" -3 [ADMIN NOSCRIPT LOADING STALE] NONE Server "2.0.0" "O(N) where N is the number of settings"
        "parameter..." "Returns the effective values of configuration parameters." others::config_get;
    "config|help" 2 [LOADING STALE] NONE Server "5.0.0" "O(1)"
        "" "Returns helpful text about the different subcommands." others::help;
    "config|set" -4 [ADMIN NOSCRIPT LOADING STALE] NONE Server "2.0.0" "O(N) where N is the number of settings"
        "parameter value [parameter value...]" "Sets configuration parameters in-flight." others::config_set;
    "copy" -3 [WRITE DENYOOM] TWO Generic "6.2.0" "O(1)"
        "source destination [DB destination-db] [REPLACE]" "Copies the value of a key to a new key." keys::copy;
    "dbsize" 1 [READ FAST] NONE Server "1.0.0" "O(1)"
        "" "Returns the number of keys in the database." others::dbsize;
    "decr" 2 [WRITE DENYOOM FAST] ONE String "1.0.0" "O(1)"
        "key" "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist." strings::decr;
    "decrby" 3 [WRITE DENYOOM FAST] ONE String "1.0.0" "O(1)"
        "key decrement" "Decrements a number from the integer value of a key." strings::decrby;
    "del" -2 [WRITE] ALL Generic "1.0.0" "O(N) where N is the number of keys"
        "key..." "Deletes one or more keys, all or none." keys::del;
    "discard" 1 [NOSCRIPT LOADING STALE FAST NOW] NONE Transactions "2.0.0" "O(N) where N is the number of queued commands"
        "" "Discards a transaction." others::discard;
    "echo" 2 [LOADING STALE FAST] NONE Connection "1.0.0" "O(1)"
        "message" "Returns the given string." others::echo;
    "exec" 1 [NOSCRIPT LOADING STALE NOW] NONE Transactions "1.2.0" "Depends on commands in the transaction"
        "" "Executes all commands in a transaction." others::exec;
    "exists" -2 [READ FAST] ALL Generic "1.0.0" "O(N) where N is the number of keys"
        "key..." "Determines whether one or more keys exist." keys::exists;
    "expire" -3 [WRITE FAST] ONE Generic "1.0.0" "O(1)"
        "key seconds [NX|XX|GT|LT]" "Sets the expiration time of a key in seconds." expiry::expire;
    "expireat" -3 [WRITE FAST] ONE Generic "1.2.0" "O(1)"
        "key unix-time-seconds [NX|XX|GT|LT]" "Sets the expiration time of a key to a Unix timestamp." expiry::expireat;
    "expiretime" 2 [READ FAST] ONE Generic "7.0.0" "O(1)"
        "key" "Returns the expiration time of a key as a Unix timestamp." expiry::expiretime;
    "flushall" -1 [WRITE NO_MULTI] NONE Server "1.0.0" "O(1), memory is freed in the background"
        "[ASYNC|SYNC]" "Removes all keys." keys::flush;
    "flushdb" -1 [WRITE NO_MULTI] NONE Server "1.0.0" "O(1), memory is freed in the background"
        "[ASYNC|SYNC]" "Removes all keys." keys::flush;
    "get" 2 [READ FAST] ONE String "1.0.0" "O(1)"
        "key" "Returns the string value of a key." strings::get;
    "getdel" 2 [WRITE FAST] ONE String "6.2.0" "O(1)"
        "key" "Returns the string value of a key after deleting the key." strings::getdel;
    "getex" -2 [WRITE FAST] ONE String "6.2.0" "O(1)"
        "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]"
        "Returns the string value of a key after setting its expiration time." strings::getex;
    "getrange" 4 [READ] ONE String "2.4.0" "O(N) where N is the length of the returned string"
        "key start end" "Returns a substring of the string stored at a key." strings::getrange;
    "getset" 3 [WRITE DENYOOM FAST] ONE String "1.0.0" "O(1)"
        "key value" "Returns the previous string value of a key after setting it to a new value." strings::getset;
    "hello" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH NO_MULTI] NONE Connection "6.0.0" "O(1)"
        "[protover [AUTH username password] [SETNAME clientname]]" "Handshakes with the server." others::hello;
    "incr" 2 [WRITE DENYOOM FAST] ONE String "1.0.0" "O(1)"
        "key" "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist." strings::incr;
    "incrby" 3 [WRITE DENYOOM FAST] ONE String "1.0.0" "O(1)"
        "key increment" "Increments the integer value of a key by a number." strings::incrby;
    "incrbyfloat" 3 [WRITE DENYOOM FAST] ONE String "2.6.0" "O(1)"
        "key increment" "Increments the floating point value of a key by a number." strings::incrbyfloat;
    "info" -1 [LOADING STALE] NONE Server "1.0.0" "O(1)"
        "[section...]" "Returns information and statistics about the server." others::info;
    "keys" 2 [READ NO_MULTI] NONE Generic "1.0.0" "O(N) with N being the number of keys in the database"
        "pattern" "Returns all key names that match a pattern." others::keys;
    "lastsave" 1 [LOADING STALE FAST] NONE Server "1.0.0" "O(1)"
        "" "Returns the Unix timestamp of the last snapshot." others::lastsave;
    "mget" -2 [READ FAST] ALL String "1.0.0" "O(N) where N is the number of keys"
        "key..." "Returns the string values of one or more keys, all of one revision." strings::mget;
    "mset" -3 [WRITE DENYOOM] PAIRS String "1.0.1" "O(N) where N is the number of keys"
        "key value [key value...]" "Sets the string values of one or more keys, all or none." strings::mset;
    "msetnx" -3 [WRITE DENYOOM] PAIRS String "1.0.1" "O(N) where N is the number of keys"
        "key value [key value...]" "Sets the string values of one or more keys, only when none of them exists." strings::msetnx;
    "multi" 1 [NOSCRIPT LOADING STALE FAST NOW] NONE Transactions "1.2.0" "O(1)"
        "" "Starts a transaction." others::multi;
    "object" -2 [] NONE Generic "2.2.3" "Depends on subcommand."
        "" "A container for object introspection commands." others::container;
    "object|encoding" 3 [READ] SECOND Generic "2.2.3" "O(1)"
        "key" "Returns the internal encoding that Redis would use for a value." keys::object_encoding;
    "object|freq" 3 [READ] SECOND Generic "4.0.0" "O(1)"
        "key" "Not tracked." keys::object_freq;
    "object|help" 2 [LOADING STALE] NONE Generic "6.2.0" "O(1)"
        "" "Returns helpful text about the different subcommands." others::help;
    "object|idletime" 3 [READ] SECOND Generic "2.2.3" "O(1)"
        "key" "Not tracked: 0 for every key that exists." keys::object_idletime;
    "object|refcount" 3 [READ] SECOND Generic "2.2.3" "O(1)"
        "key" "Returns the reference count of a value: 1." keys::object_refcount;
    "persist" 2 [WRITE FAST] ONE Generic "2.2.0" "O(1)"
        "key" "Removes the expiration time of a key." expiry::persist;
    "pexpire" -3 [WRITE FAST] ONE Generic "2.6.0" "O(1)"
        "key milliseconds [NX|XX|GT|LT]" "Sets the expiration time of a key in milliseconds." expiry::pexpire;
    "pexpireat" -3 [WRITE FAST] ONE Generic "2.6.0" "O(1)"
        "key unix-time-milliseconds [NX|XX|GT|LT]" "Sets the expiration time of a key to a Unix milliseconds timestamp."
        expiry::pexpireat;
    "pexpiretime" 2 [READ FAST] ONE Generic "7.0.0" "O(1)"
        "key" "Returns the expiration time of a key as a Unix milliseconds timestamp." expiry::pexpiretime;
    "ping" -1 [FAST] NONE Connection "1.0.0" "O(1)"
        "[message]" "Returns the server's liveliness response." others::ping;
    "psetex" 4 [WRITE DENYOOM] ONE String "2.6.0" "O(1)"
        "key milliseconds value" "Sets both string value and expiration time in milliseconds of a key." strings::psetex;
    "pttl" 2 [READ FAST] ONE Generic "2.6.0" "O(1)"
        "key" "Returns the expiration time in milliseconds of a key." expiry::pttl;
    "quit" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH NOW] NONE Connection "1.0.0" "O(1)"
        "" "Closes the connection." others::quit;
    "randomkey" 1 [READ NO_MULTI] NONE Generic "1.0.0" "O(1)"
        "" "Returns a random key name from the database." others::randomkey;
    "rename" 3 [WRITE] TWO Generic "1.0.0" "O(1)"
        "key newkey" "Renames a key and overwrites the destination." keys::rename;
    "renamenx" 3 [WRITE FAST] TWO Generic "1.0.0" "O(1)"
        "key newkey" "Renames a key only when the target key name doesn't exist." keys::renamenx;
    "reset" 1 [NOSCRIPT LOADING STALE FAST NO_AUTH NOW] NONE Connection "6.2.0" "O(1)"
        "" "Resets the connection." others::reset;
    "save" 1 [ADMIN NOSCRIPT NO_MULTI] NONE Server "1.0.0" "O(N) where N is the total number of keys"
        "" "Has a snapshot made, and waits for it." others::save;
    "scan" -2 [READ NO_MULTI] NONE Generic "2.8.0" "O(1) for every call. O(N) for a complete iteration"
        "cursor [MATCH pattern] [COUNT count] [TYPE type]" "Iterates over the key names in the database." others::scan;
    "select" 2 [LOADING STALE FAST] NONE Connection "1.0.0" "O(1)"
        "index" "Changes the selected database. There is one: 0." others::select;
    "set" -3 [WRITE DENYOOM] ONE String "1.0.0" "O(1)"
        "key value [NX|XX|IFEQ comparison-value] [GET] \
         [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]"
        "Sets the string value of a key, whatever it was." strings::set;
    "setex" 4 [WRITE DENYOOM] ONE String "2.0.0" "O(1)"
        "key seconds value" "Sets the string value and expiration time of a key." strings::setex;
    "setnx" 3 [WRITE DENYOOM FAST] ONE String "1.0.0" "O(1)"
        "key value" "Sets the string value of a key only when the key doesn't exist." strings::setnx;
    "setrange" 4 [WRITE DENYOOM] ONE String "2.2.0" "O(N) with N being the length of the value"
        "key offset value" "Overwrites a part of a string value with another by an offset." strings::setrange;
    "shutdown" -1 [ADMIN NOSCRIPT LOADING STALE NO_MULTI] NONE Server "1.0.0" "O(N) when saving, where N is the number of keys"
        "[NOSAVE|SAVE] [NOW] [FORCE]" "Ends the server in order." others::shutdown;
    "strlen" 2 [READ FAST] ONE String "2.2.0" "O(1)"
        "key" "Returns the length of a string value." strings::strlen;
    "substr" 4 [READ] ONE String "1.0.0" "O(N) where N is the length of the returned string"
        "key start end" "Returns a substring from a string value." strings::getrange;
    "time" 1 [LOADING STALE FAST] NONE Server "2.6.0" "O(1)"
        "" "Returns the server time." others::time;
    "touch" -2 [READ FAST] ALL Generic "3.2.1" "O(N) where N is the number of keys"
        "key..." "Returns how many of the given keys exist." keys::touch;
    "ttl" 2 [READ FAST] ONE Generic "1.0.0" "O(1)"
        "key" "Returns the expiration time in seconds of a key." expiry::ttl;
    "type" 2 [READ FAST] ONE Generic "1.0.0" "O(1)"
        "key" "Determines the type of value stored at a key." keys::type_;
    "unlink" -2 [WRITE FAST] ALL Generic "4.0.0" "O(N) where N is the number of keys"
        "key..." "Deletes one or more keys, all or none." keys::del;
    "unwatch" 1 [NOSCRIPT LOADING STALE FAST] NONE Transactions "2.2.0" "O(1)"
        "" "Forgets about watched keys of a transaction." others::unwatch;
    "watch" -2 [NOSCRIPT LOADING STALE FAST NOW] ALL Transactions "2.2.0" "O(1) for every key"
        "key..." "Monitors changes to keys to determine the execution of a transaction." others::watch;
};
