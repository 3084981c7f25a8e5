# Every answer of fakeroot comes through message queues.

# In a user namespace, the kernel calls owners that are not in it EINVAL, which
# fakeroot does not expect of a chown that it only tries.
export FAKEROOTDONTTRYCHOWN=1

set -e
touch file
mkdir dir
fakeroot-sysv -- sh -ec '
	id -u
	chown 5:6 file
	chown 7:8 dir
	mknod device c 1 3
	chmod 4755 file
	stat -c "%n %u:%g %a %F" file dir device
	tar -c --sort=name file dir device | tar -tv --numeric-owner | awk "{ print \$1, \$2, \$NF }"
	for try in $(seq 50); do (chown $try file; stat -c %u file) | grep -qx $try; done
'
stat -c '%n %a' file
# Its server ends by itself, and removes what it has made.
for try in $(seq 500); do
	[ "$(ipcs -q -s | grep -c ^0x)" = 0 ] && break
	sleep 0.02
done
ipcs -q -s | grep -c ^0x || true
