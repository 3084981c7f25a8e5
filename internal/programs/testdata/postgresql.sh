. ./postgresql.inc
make one

# The first key that it would take is another's.
ipcns shm create "$(printf '0x%x' $(($(stat -c %i one) & 0xffffffff)))" 4096
pg_ctl -w -l server.log start >/dev/null || { cat server.log; exit 1; }
echo "key: $(key)"
ipcs -m | awk '/^0x/ { print $4, $5, $6 > 0 }'

sql <<'END' 2>&1 | sed 's/PID [0-9]*/PID N/'
SHOW shared_memory_type;
SHOW dynamic_shared_memory_type;
CREATE TABLE numbers AS SELECT generate_series(1, 20000) AS n;
SELECT count(*), sum(n) FROM numbers;
SELECT pg_try_advisory_lock(42);
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM numbers;
SELECT count(*), sum(n) FROM numbers;
LISTEN news;
SELECT pg_notify('news', 'hello') IS NULL;
SELECT 1 / 0;
END

pgbench -i -s 1 -q >pgbench.log 2>&1 || { cat pgbench.log; exit 1; }
pgbench -n -c 4 -j 2 -t 100 >pgbench.log 2>&1 || { cat pgbench.log; exit 1; }
grep -E 'processed|failed' pgbench.log
sql <<'END'
SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
       (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history),
       (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history),
       (SELECT count(*) FROM pgbench_history);
END

pg_ctl -m fast -w -s stop && echo stopped
segments
# A process of the server that is still ending when it is stopped says so; when is chance.
grep -E '^(ERROR|FATAL|PANIC|WARNING)' server.log | grep -v 'due to administrator command'
