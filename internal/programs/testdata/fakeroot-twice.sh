# Two that share queues mix up their answers.

# In a user namespace, the kernel calls owners that are not in it EINVAL, which
# fakeroot does not expect of a chown that it only tries.
export FAKEROOTDONTTRYCHOWN=1

me=$1 other=$((3 - $1))
fakeroot-sysv --faked 'faked-sysv --key 4242' -- sh -c "
	touch file.$me
	chown $me$me$me file.$me
	touch begun.$me
	for try in \$(seq 500); do [ -e begun.$other ] && break; sleep 0.02; done
	for answer in \$(seq 20); do stat -c %u file.$me; done
"
