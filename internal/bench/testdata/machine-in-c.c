/*
 * machine-in-c N DIR: N IPC namespaces, with ten objects each. Two processes are in
 * every second one: both have attached a segment, and a thread of each is blocked.
 * The others are kept by mounts on files in DIR, which nobody else sees, and by
 * descriptors of this process, half of them by each.
 *
 * The inode number of each is printed, and behind it a process if there is one; then
 * an empty line. All ends with standard input.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

static int own, queue, set, segment; /* the namespace that this was started in, and the last objects */

static void enter_new_namespace(void)
{
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 8 };
	struct stat st;
	mqd_t mqueue;
	int i;

	if (unshare(CLONE_NEWIPC))
		err(1, "unshare");
	for (i = 0; i < 3; i++) {
		queue = msgget(IPC_PRIVATE, 0600);
		set = semget(IPC_PRIVATE, 2, 0600);
		segment = shmget(IPC_PRIVATE, 4096, 0600);
		if (queue < 0 || set < 0 || segment < 0)
			err(1, "msgget, semget or shmget");
	}
	mqueue = mq_open("/jobs", O_RDWR | O_CREAT, 0600, &attr);
	if (mqueue < 0 || mq_close(mqueue))
		err(1, "mq_open");
	if (stat("/proc/self/ns/ipc", &st))
		err(1, "stat");
	printf("%lu", (unsigned long)st.st_ino);
}

static void *block_in_semop(void *unused)
{
	struct sembuf decrement = { .sem_op = -1 };

	semop(set, &decrement, 1);
	err(1, "semop has returned");
}

/* The child blocks in msgrcv, or in semop in a thread of its own. */
static pid_t start_child(int in_semop)
{
	struct { long type; char text; } message;
	pthread_t thread;
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		err(1, "fork");
	if (child)
		return child;
	close(own);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		exit(1);
	if (shmat(segment, NULL, 0) == (void *)-1)
		err(1, "shmat");
	if (!in_semop) {
		msgrcv(queue, &message, 1, 7, 0);
		err(1, "msgrcv has returned");
	}
	if (pthread_create(&thread, NULL, block_in_semop, NULL))
		err(1, "pthread_create");
	for (;;)
		pause();
}

static void mount_on(const char *dir, int number)
{
	char path[4096];
	int file;

	snprintf(path, sizeof path, "%s/%d", dir, number);
	file = open(path, O_RDWR | O_CREAT, 0600);
	if (file < 0 || close(file) || mount("/proc/self/ns/ipc", path, NULL, MS_BIND, NULL))
		err(1, "cannot mount on %s", path);
}

int main(int argc, char **argv)
{
	int namespaces = argc == 3 ? atoi(argv[1]) : 0, i;
	char end;

	if (namespaces < 1)
		errx(2, "usage: machine-in-c N DIR");
	own = open("/proc/self/ns/ipc", O_RDONLY);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tmpfs", argv[2], "tmpfs", 0, NULL))
		err(1, "cannot mount");
	for (i = 0; i < namespaces / 2; i++) {
		enter_new_namespace();
		printf(" %d\n", start_child(0));
		start_child(1);
	}
	for (; i < namespaces; i++) {
		enter_new_namespace();
		if (i % 2)
			mount_on(argv[2], i);
		else if (open("/proc/self/ns/ipc", O_RDONLY) < 0)
			err(1, "open");
		puts("");
	}
	if (setns(own, CLONE_NEWIPC) || close(own))
		err(1, "setns");
	usleep(500000); /* until the last child is blocked */
	puts("");
	if (fflush(stdout))
		err(1, "stdout");
	while (read(0, &end, 1) > 0)
		;
	return 0;
}
