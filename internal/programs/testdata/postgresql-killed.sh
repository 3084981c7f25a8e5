. ./postgresql.inc
make one

# The shell is the server's parent, so that it does not stay as a zombie, which
# the next server would take for one that runs.
serve() {
	postgres >"$1" 2>&1 &
	server=$!
	until_it pg_isready
}
unattached() { [ -z "$(ipcs -m | awk '/^0x/ && $6 > 0')" ]; }

serve first.log
sql <<'END'
CREATE TABLE kept (n int);
INSERT INTO kept SELECT generate_series(1, 1000);
END

# One that cannot notice the server's end stays attached to its memory.
writer=$(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'")
kill -STOP "$writer"
kill -KILL $server
wait $server || echo "server: status $?"
postgres >second.log 2>&1 && echo "a second server started" || echo "second server: status $?"
grep -E '^(FATAL|HINT)' second.log | sed 's/[0-9][0-9]*/N/g'
segments

kill -KILL "$writer"
until_it unattached
serve third.log
grep -c 'automatic recovery in progress' third.log
sql -c 'SELECT count(*) FROM kept'
segments
kill -INT $server
wait $server
segments
