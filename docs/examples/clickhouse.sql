CREATE TABLE netconsd
(
    id String,
    kind LowCardinality(String),
    time DateTime64(6, 'UTC'),
    host String,
    name String,
    level LowCardinality(String),
    severity UInt8,
    text String,
    boot Nullable(UInt64),
    seq Nullable(UInt64),
    ts_usec Nullable(UInt64),
    fields Map(String, String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (host, time, id)
SETTINGS non_replicated_deduplication_window = 1000
