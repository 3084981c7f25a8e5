# Semaphore sets: IPC::Semaphore, with operations that wait and that are undone.
use strict;
use warnings;
use IPC::SysV qw(:all);
use IPC::Semaphore;
use Errno;
use Time::HiRes qw(sleep);
$| = 1;

sub report { print join(" ", map { defined ? $_ : "undef" } @_), "\n" }
sub errno { my @names = grep { $!{$_} } keys %!; "@{[sort @names]}" }
sub tried { my ($what, $ok) = @_; report $what, $ok ? "done" : errno }
sub child {
	my ($what) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	$what->();
	exit 0;
}

my $key = 0x5678;
my $set = IPC::Semaphore->new($key, 4, IPC_CREAT | IPC_EXCL | 0660) or die "semget: $!";
report "set", $set->id, "new", $set->getall;
tried "exclusive", IPC::Semaphore->new($key, 4, IPC_CREAT | IPC_EXCL);
tried "more", IPC::Semaphore->new($key, 5, 0);
tried "fewer", IPC::Semaphore->new($key, 1, 0);
tried "too many", IPC::Semaphore->new(IPC_PRIVATE, 1 << 30, 0600);

tried "setall", $set->setall(1, 2, 3, 0);
tried "setval", $set->setval(3, 9);
tried "setval out of range", $set->setval(0, 1 << 20);
tried "setval of none", $set->setval(4, 1);
report "values", $set->getall;
my $stat = $set->stat;
report "stat", $stat->uid, $stat->gid, $stat->cuid, $stat->cgid, sprintf("%o", $stat->mode), $stat->nsems, !!$stat->ctime, $stat->otime;

tried "op", $set->op(0, 1, 0, 1, -2, 0, 3, -9, 0);
report "values", $set->getall, "otime", !!$set->stat->otime;
tried "all or nothing", $set->op(0, 5, 0, 1, -1, IPC_NOWAIT);
report "values", $set->getall;
tried "wait for zero", $set->op(0, 0, IPC_NOWAIT);
tried "is zero", $set->op(1, 0, IPC_NOWAIT);
tried "number", $set->op(4, 1, 0);
tried "overflow", $set->op(0, 32767, 0);
report "pid", $set->getpid(0) == $$, $set->getpid(2) == $$;

# Waiters are counted, and go on when they can.
my @waiters = (child(sub { $set->op(1, -2, 0) }), child(sub { $set->op(1, -1, 0) }), child(sub { $set->op(0, 0, 0) }));
for (1 .. 500) {
	last if $set->getncnt(1) == 2 && $set->getzcnt(0) == 1;
	sleep 0.01;
}
report "waiting", $set->getncnt(1), $set->getzcnt(0), $set->getncnt(0);
$set->op(1, 1, 0);
for (1 .. 500) {
	last if $set->getncnt(1) == 1;
	sleep 0.01;
}
report "waiting", $set->getncnt(1), $set->getval(1);
$set->op(1, 2, 0);
$set->setval(0, 0);
waitpid $_, 0 for @waiters;
report "waiting", $set->getncnt(1), $set->getzcnt(0), "values", $set->getall;

# What a process leaves undone is undone.
$set->setall(5, 5, 5, 5);
waitpid child(sub { $set->op(0, -3, SEM_UNDO, 1, 4, SEM_UNDO, 2, -1, 0) }), 0;
report "undone", $set->getall;
my $killed = child(sub { $set->op(0, -5, SEM_UNDO); sleep 60 });
for (1 .. 500) { last if $set->getval(0) == 0; sleep 0.01 }
my $next = child(sub { $set->op(0, -1, 0); report "next", $set->getval(0) });
for (1 .. 500) { last if $set->getncnt(0) == 1; sleep 0.01 }
kill "KILL", $killed;
waitpid $_, 0 for $killed, $next;
report "after a kill", $set->getall;
waitpid child(sub { $set->op(0, -2, SEM_UNDO); $set->setval(0, 7) }), 0;
report "set, not undone", $set->getall;
waitpid child(sub { $set->op(3, 3, SEM_UNDO); exec "true" }), 0;
report "undone after exec", $set->getall;

# A mutex by many.
$set->setall(1, 0, 0, 0);
open my $counter, "+>", "counter" or die;
syswrite $counter, sprintf "%06d", 0;
my @adders = map { child(sub {
	open my $own, "+<", "counter" or die;
	for (1 .. 50) {
		$set->op(0, -1, SEM_UNDO) or die;
		sysseek $own, 0, 0;
		sysread $own, my $n, 6;
		sysseek $own, 0, 0;
		syswrite $own, sprintf "%06d", $n + 1;
		$set->op(0, 1, SEM_UNDO) or die;
	}
}) } 1 .. 4;
waitpid $_, 0 for @adders;
sysseek $counter, 0, 0;
sysread $counter, my $count, 6;
report "counted", $count, "values", $set->getall;

# Who waits is woken by a signal, and by the set's end.
sub waiting {
	my ($what, $wake) = @_;
	my $pid = child(sub {
		$SIG{USR1} = sub { };
		my $ok = $set->op(1, -1, 0);
		report $what, $ok ? "done" : errno;
	});
	for (1 .. 500) { last if $set->getncnt(1) == 1; sleep 0.01 }
	sleep 0.05;
	$wake->($pid);
	waitpid $pid, 0;
}
waiting "a signal", sub { kill "USR1", $_[0] };
tried "set", $set->set(mode => 0600);
report "mode", sprintf("%o", $set->stat->mode);
waiting "the end", sub { $set->remove };
tried "removed", $set->op(0, 1, 0);
