# What util-linux makes, shows and removes.
say() {
	echo "\$ $*"
	"$@" 2>&1 || echo "[$?]"
}
# Process ids are among the numbers of two digits and more.
pids() { sed -E ':a; s/(^|[ "=])[1-9][0-9]+( |"|$)/\1N\2/; ta'; }

say ipcs
say ipcs -l
say ipcs -u
say lsipc
say ipcmk -Q
say ipcmk -Q -p 600
say ipcmk -S 3 -p 640
say ipcmk -M 1M -p 664
say ipcmk -M 0
say ipcmk -S 0
ipcns msg create 0x2a
echo hello | ipcns msg send 0x2a
for of in '' -q -s -m -t -c -u -l; do say ipcs $of; done
say ipcs -p | pids
for id in 0 1; do say ipcs -q -i $id; done
say ipcs -q -i 2 | sed -E 's/lspid=[0-9]+/PID/'
say ipcs -s -i 0
say ipcs -m -i 0 | sed -E 's/cpid=[0-9]+/PID/'
for kind in -q -s -m; do say ipcs $kind -i 77; done
say lsipc
for kind in -q -s -m; do
	say lsipc $kind
	say lsipc $kind --creator
	say lsipc $kind --numeric-perms --export
	say lsipc $kind --time --time-format iso
	say lsipc $kind --json --bytes
done | pids
for kind in -q -s -m; do say lsipc $kind -i 0; done | pids
say lsipc -q -i 77
# lsns shows nothing when a process ends that it is looking at.
until lsns -t ipc -n -o TYPE -p $$ | grep ipc; do :; done
say ipcrm -q 0
say ipcrm -q 0
say ipcrm -Q 0x7fff0000
say ipcrm -s 0 -m 0
say ipcs
say ipcmk -Q -p 666
say ipcrm -Q 0x2a
say ipcs
say ipcrm --all
say ipcs
say lsipc -q
say cat /proc/sysvipc/msg /proc/sysvipc/sem /proc/sysvipc/shm
