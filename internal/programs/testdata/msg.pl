# Message queues: System V by IPC::Msg and by Perl's own calls.
use strict;
use warnings;
use IPC::SysV qw(:all);
use IPC::Msg;
use Errno;
use POSIX ":sys_wait_h";
use Time::HiRes qw(alarm sleep);
$| = 1;

sub report { print join(" ", map { defined ? $_ : "undef" } @_), "\n" }
sub errno { my @names = grep { $!{$_} } keys %!; "@{[sort @names]}" }
sub tried { my ($what, $ok) = @_; report $what, $ok ? "done" : errno }

my $key = 0x1234;
my $queue = IPC::Msg->new($key, IPC_CREAT | IPC_EXCL | 0640) or die "msgget: $!";
report "queue", $queue->id;
tried "exclusive", IPC::Msg->new($key, IPC_CREAT | IPC_EXCL | 0600);
tried "none", IPC::Msg->new(0x4321, 0);
tried "type 0", $queue->snd(0, "x");
tried "type -1", $queue->snd(-1, "x");

$queue->snd($_, "message $_") or die "snd: $!" for 3, 1, 2, 5, 4, 2;
my $stat = $queue->stat;
report "stat", map { $stat->$_ } qw(uid gid cuid cgid);
report "mode", sprintf("%o", $stat->mode), "qnum", $stat->qnum, "qbytes", $stat->qbytes;
report "lspid", $stat->lspid == $$, "lrpid", $stat->lrpid, "stime", !!$stat->stime, "rtime", $stat->rtime;

my $text;
report "too big", $queue->rcv($text, 3, 0, IPC_NOWAIT), errno;
report "cut", $queue->rcv($text, 3, 0, IPC_NOWAIT | MSG_NOERROR), $text;
report "type 2", $queue->rcv($text, 100, 2, IPC_NOWAIT), $text;
report "up to 2", $queue->rcv($text, 100, -2, IPC_NOWAIT), $text;
report "up to 2", $queue->rcv($text, 100, -2, IPC_NOWAIT), $text;
report "except 5", $queue->rcv($text, 100, 5, IPC_NOWAIT | MSG_EXCEPT), $text;
report "type 9", $queue->rcv($text, 100, 9, IPC_NOWAIT), errno;
report "any", $queue->rcv($text, 100, 0, IPC_NOWAIT), $text;
report "empty", $queue->rcv($text, 100, 0, IPC_NOWAIT), errno;

# A child answers each question, by the type that it was asked for.
my $child = fork // die "fork: $!";
if (!$child) {
	for (1 .. 200) {
		my $type = $queue->rcv(my $question, 100, -9) or exit 1;
		$queue->snd(100 + $type, "answer to $question") or exit 2;
	}
	exit 0;
}
my %answers;
for (1 .. 200) {
	my $type = 1 + $_ % 9;
	$queue->snd($type, "question $_") or die "snd: $!";
	$queue->rcv($text, 100, 100 + $type) or die "rcv: $!";
	$answers{$text}++;
}
waitpid $child, 0;
report "child", $?, "answers", scalar(keys %answers), exists $answers{"answer to question 200"};

# Who waits is woken by a message, by a signal, and by the queue's end.
sub waiting {
	my ($what, $wake) = @_;
	pipe my $from, my $to or die;
	my $pid = fork // die;
	if (!$pid) {
		$SIG{USR1} = sub { };
		syswrite $to, "x";
		my $type = $queue->rcv(my $got, 100, 7);
		report $what, $type, defined $type ? $got : errno;
		exit 0;
	}
	sysread $from, my $ready, 1;
	sleep 0.1;
	until (waitpid $pid, WNOHANG) {
		$wake->($pid);
		sleep 0.1;
	}
}
my $sent;
waiting "a message", sub { $sent++ or $queue->snd(7, "wakes") };
waiting "a signal", sub { kill "USR1", $_[0] };

# A full queue makes senders wait.
my $size = $queue->stat->qbytes / 4;
tried "fill", $queue->snd(1, "x" x $size) for 1 .. 4;
tried "full", $queue->snd(1, "y", IPC_NOWAIT);
my $sender = fork // die;
if (!$sender) {
	exit !$queue->snd(2, "at last");
}
sleep 0.1;
report "before", $queue->stat->qnum;
$queue->rcv($text, $size, 1);
waitpid $sender, 0;
report "sender", $?, $queue->rcv($text, 100, 2), $text;

tried "set", $queue->set(mode => 0600, qbytes => 1000);
report "mode", sprintf("%o", $queue->stat->mode), "qbytes", $queue->stat->qbytes;
waiting "the end", sub { $queue->remove };
tried "removed", $queue->snd(1, "x");
tried "by key", IPC::Msg->new($key, 0);

my $private = msgget(IPC_PRIVATE, 0600);
report "private", defined $private, msgsnd($private, pack("l! a*", 1, ""), 0), msgctl($private, IPC_RMID, 0);
