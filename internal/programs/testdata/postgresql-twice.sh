. ./postgresql.inc
me=$1 other=$((3 - $1))
mkdir "$me" && cd "$me"
make one

pg_ctl -w -l server.log start >/dev/null || { cat server.log; exit 1; }
sql -c "CREATE TABLE owner AS SELECT $me AS me"
touch ../up."$me"
until_it test -e ../up.$other
echo "port $PGPORT, key: $(key), segments: $(segments)"
sql -c "SELECT * FROM owner"
touch ../seen."$me"
until_it test -e ../seen.$other
pg_ctl -m fast -w -s stop && echo stopped
segments
