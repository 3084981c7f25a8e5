# Shared memory: IPC::SharedMem, and Perl's own calls.
use strict;
use warnings;
use IPC::SysV qw(:all);
use IPC::SharedMem;
use Errno;
$| = 1;

sub report { print join(" ", map { defined ? $_ : "undef" } @_), "\n" }
sub errno { my @names = grep { $!{$_} } keys %!; "@{[sort @names]}" }
sub tried { my ($what, $ok) = @_; report $what, $ok ? "done" : errno }

my $key = 0x9abc;
my $segment = IPC::SharedMem->new($key, 10000, IPC_CREAT | IPC_EXCL | 0640) or die "shmget: $!";
report "segment", $segment->id;
tried "exclusive", IPC::SharedMem->new($key, 10000, IPC_CREAT | IPC_EXCL);
tried "larger", IPC::SharedMem->new($key, 10001, 0);
tried "empty", IPC::SharedMem->new(IPC_PRIVATE, 0, 0600);

sub stat_of {
	my $stat = $segment->stat;
	report "stat", $stat->uid, $stat->gid, $stat->cuid, $stat->cgid, sprintf("%o", $stat->mode), $stat->segsz, "nattch", $stat->nattch,
		"cpid", $stat->cpid == $$, "times", !!$stat->atime, !!$stat->dtime, !!$stat->ctime;
}
stat_of;
tried "attach", $segment->attach;
stat_of;
tried "write", $segment->write("hello", 0, 5);
tried "at the end", $segment->write("end", 9997, 3);
report "read", $segment->read(0, 5), $segment->read(9997, 3), unpack("H*", $segment->read(5, 3));

pipe my $from, my $to or die;
pipe my $again_from, my $again_to or die;
my $child = fork // die;
if (!$child) {
	report "inherited", $segment->read(0, 5), $segment->stat->nattch;
	my $second = IPC::SharedMem->new($key, 10000, 0) or die;
	$second->attach or die "attach: $!";
	report "attached twice", $second->stat->nattch;
	$second->write("child", 100, 5) or die;
	report "same memory", $segment->read(100, 5);
	$second->detach or die;
	report "detached", $segment->stat->nattch;
	syswrite $to, "x";
	sysread $again_from, my $go, 1;
	exec "true";
}
sysread $from, my $ready, 1;
report "of the child", $segment->read(100, 5), $segment->stat->nattch;
syswrite $again_to, "x";
waitpid $child, 0;
report "exec detaches", $segment->stat->nattch;

my $reader = fork // die;
if (!$reader) {
	$segment->detach;
	$segment->attach(SHM_RDONLY) or die "attach: $!";
	report "read only", $segment->read(0, 5);
	$segment->write("x", 0, 1);
	exit 0;
}
waitpid $reader, 0;
report "a write ends it", $? & 127;

# What is marked stays as long as it is attached.
tried "remove", $segment->remove;
my $stat = $segment->stat;
report "marked", sprintf("%o", $stat->mode), $stat->nattch;
tried "by key", IPC::SharedMem->new($key, 10000, 0);
report "still there", $segment->read(0, 5);
tried "detach", $segment->detach;
tried "gone", $segment->stat;

my $id = shmget(IPC_PRIVATE, 4096, 0600);
my $words;
report "own calls", shmwrite($id, "words", 7, 5), shmread($id, $words, 7, 5), $words, shmctl($id, IPC_RMID, 0);
