-- The messages of JSON lines. DuckDB shall not guess the columns: from the first 20,480 lines, it takes one that is null
-- there for empty, and 2.0 loses all its later values.
CREATE VIEW messages AS SELECT * FROM read_json(
    'messages.jsonl*', format = 'newline_delimited', columns = {
        version: 'UTINYINT', time: 'TIMESTAMPTZ', received_at: 'DOUBLE', address: 'VARCHAR', interface: 'VARCHAR',
        scope_id: 'UINTEGER', port: 'USMALLINT', format: 'VARCHAR', level: 'UTINYINT', facility: 'UTINYINT',
        seq: 'UBIGINT', ts_usec: 'UBIGINT', caller: 'VARCHAR', text: 'VARCHAR', dictionary: 'MAP(VARCHAR, VARCHAR)',
        userdata: 'MAP(VARCHAR, VARCHAR)', cpu: 'UINTEGER', taskname: 'VARCHAR', msgid: 'UINTEGER',
        release: 'VARCHAR', release_in_header: 'BOOLEAN', continuation: 'BOOLEAN', new: 'BOOLEAN', boot: 'BOOLEAN',
        replayed: 'BOOLEAN', emergency: 'BOOLEAN', seq_reset: 'BOOLEAN', out_of_order: 'BOOLEAN',
        incomplete: 'BOOLEAN', missing: 'UBIGINT', lost: 'BIGINT', likely_lost: 'UBIGINT', limited: 'BIGINT',
        raw: 'VARCHAR', bytes: 'MAP(VARCHAR, VARCHAR)'
    }
)
WHERE format IN ('extended', 'legacy', 'datagram');
