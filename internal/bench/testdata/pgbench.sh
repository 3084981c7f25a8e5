# pgbench.sh DIRECTORY SECONDS [OPTION]...: how many transactions a second a
# PostgreSQL server does that has its memory from System V.
set -e
export PGDATA=$1 PGHOST=$1 PGUSER=postgres PGDATABASE=postgres
seconds=$2
shift 2
if [ ! -e "$PGDATA/PG_VERSION" ]; then
	initdb -U postgres -A trust -N >/dev/null
	cat >>"$PGDATA/postgresql.conf" <<-END
		listen_addresses = ''
		unix_socket_directories = '$PGDATA'
		shared_memory_type = sysv
		dynamic_shared_memory_type = sysv
		fsync = off
	END
	made=yes
fi
pg_ctl -w -s -l "$PGDATA/log" start
trap 'pg_ctl -m fast -w -s stop' EXIT
[ -z "$made" ] || pgbench -i -s 5 -q >/dev/null 2>&1
pgbench -n -c 4 -j 2 -T "$seconds" "$@" 2>/dev/null | awk '/^tps/ { print $3 }'
