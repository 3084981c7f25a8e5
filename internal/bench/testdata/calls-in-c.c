/*
 * calls-in-c WORK N [SLEEPERS]: does the work N times and prints the nanoseconds
 * that one took, while so many other processes sleep in a semop. It is what
 * calls.go does with the Go packages, to compare with.
 *
 * calls-in-c memory SLEEPERS: prints how many KiB the supervisor has in memory.
 */
#define _GNU_SOURCE
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct { long type; char text[8192]; } message = { .type = 1 };

static long check(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void report(double start, long n)
{
	printf("%.1f\n", (now() - start) / n);
}

static void msg(long n, size_t size)
{
	int id = check(msgget(IPC_PRIVATE, 0600), "msgget");
	double start = now();

	for (long i = 0; i < n; i++) {
		check(msgsnd(id, &message, size, 0), "msgsnd");
		check(msgrcv(id, &message, size, 0, 0), "msgrcv");
	}
	report(start, n);
	check(msgctl(id, IPC_RMID, NULL), "msgctl");
}

static void msg_pingpong(long n)
{
	int there = check(msgget(IPC_PRIVATE, 0600), "msgget"), back = check(msgget(IPC_PRIVATE, 0600), "msgget");

	if (check(fork(), "fork") == 0) {
		for (long i = 0; i < n; i++) {
			check(msgrcv(there, &message, 64, 0, 0), "msgrcv");
			check(msgsnd(back, &message, 64, 0), "msgsnd");
		}
		exit(0);
	}
	double start = now();

	for (long i = 0; i < n; i++) {
		check(msgsnd(there, &message, 64, 0), "msgsnd");
		check(msgrcv(back, &message, 64, 0, 0), "msgrcv");
	}
	report(start, n);
	check(wait(NULL), "wait");
	check(msgctl(there, IPC_RMID, NULL), "msgctl");
	check(msgctl(back, IPC_RMID, NULL), "msgctl");
}

static void sem(long n)
{
	int id = check(semget(IPC_PRIVATE, 1, 0600), "semget");
	struct sembuf up = { 0, 1, 0 }, down = { 0, -1, 0 };
	double start = now();

	for (long i = 0; i < n; i++) {
		check(semop(id, &up, 1), "semop");
		check(semop(id, &down, 1), "semop");
	}
	report(start, n);
	check(semctl(id, 0, IPC_RMID), "semctl");
}

static void sem_pingpong(long n)
{
	int id = check(semget(IPC_PRIVATE, 2, 0600), "semget");
	struct sembuf up[2] = { { 0, 1, 0 }, { 1, 1, 0 } }, down[2] = { { 0, -1, 0 }, { 1, -1, 0 } };

	if (check(fork(), "fork") == 0) {
		for (long i = 0; i < n; i++) {
			check(semop(id, &down[0], 1), "semop");
			check(semop(id, &up[1], 1), "semop");
		}
		exit(0);
	}
	double start = now();

	for (long i = 0; i < n; i++) {
		check(semop(id, &up[0], 1), "semop");
		check(semop(id, &down[1], 1), "semop");
	}
	report(start, n);
	check(wait(NULL), "wait");
	check(semctl(id, 0, IPC_RMID), "semctl");
}

static void shm(long n)
{
	int id = check(shmget(IPC_PRIVATE, 65536, 0600), "shmget");
	double start = now();

	for (long i = 0; i < n; i++) {
		char *memory = shmat(id, NULL, 0);

		if (memory == (void *)-1)
			check(-1, "shmat");
		memory[0]++;
		check(shmdt(memory), "shmdt");
	}
	report(start, n);
	check(shmctl(id, IPC_RMID, NULL), "shmctl");
}

static void msgget_key(long n)
{
	const key_t key = 0x2a;
	int id = check(msgget(key, IPC_CREAT | 0600), "msgget");
	double start = now();

	for (long i = 0; i < n; i++)
		check(msgget(key, 0), "msgget");
	report(start, n);
	check(msgctl(id, IPC_RMID, NULL), "msgctl");
}

static mqd_t open_queue(const char *name, size_t size)
{
	struct mq_attr attr = { .mq_maxmsg = 8, .mq_msgsize = size };
	mqd_t queue = check(mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr), "mq_open");

	check(mq_unlink(name), "mq_unlink");
	return queue;
}

static void mq(long n, size_t size)
{
	mqd_t queue = open_queue("/c", size);
	double start = now();

	for (long i = 0; i < n; i++) {
		check(mq_send(queue, message.text, size, 0), "mq_send");
		check(mq_receive(queue, message.text, size, NULL), "mq_receive");
	}
	report(start, n);
}

static void mq_pingpong(long n)
{
	mqd_t there = open_queue("/c-there", 64), back = open_queue("/c-back", 64);

	if (check(fork(), "fork") == 0) {
		for (long i = 0; i < n; i++) {
			check(mq_receive(there, message.text, 64, NULL), "mq_receive");
			check(mq_send(back, message.text, 64, 0), "mq_send");
		}
		exit(0);
	}
	double start = now();

	for (long i = 0; i < n; i++) {
		check(mq_send(there, message.text, 64, 0), "mq_send");
		check(mq_receive(back, message.text, 64, NULL), "mq_receive");
	}
	report(start, n);
	check(wait(NULL), "wait");
}

/* sleepers starts processes that sleep until the set that it returns is gone. */
static int sleepers(long n)
{
	int id = check(semget(IPC_PRIVATE, 1, 0600), "semget");
	struct sembuf down = { 0, -1, 0 };

	for (long i = 0; i < n; i++)
		if (check(fork(), "fork") == 0) {
			semop(id, &down, 1);
			_exit(0);
		}
	while (check(semctl(id, 0, GETNCNT), "semctl") < n)
		usleep(1000);
	return id;
}

static void wake(int id)
{
	check(semctl(id, 0, IPC_RMID), "semctl");
	while (wait(NULL) > 0)
		;
}

static void memory(void)
{
	char path[64], line[256];
	int pid;
	long kib;
	FILE *file = fopen("/proc/sysvipc/supervisor", "r");

	check(file && fscanf(file, "%d", &pid) == 1 ? 0 : -1, "supervisor");
	fclose(file);
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	file = fopen(path, "r");
	check(file ? 0 : -1, path);
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			printf("%ld\n", kib);
	fclose(file);
}

static int work(const char *what, long n)
{
	if (!strcmp(what, "msg-64"))
		msg(n, 64);
	else if (!strcmp(what, "msg-4k"))
		msg(n, 4096);
	else if (!strcmp(what, "msg-ping-pong"))
		msg_pingpong(n);
	else if (!strcmp(what, "sem"))
		sem(n);
	else if (!strcmp(what, "sem-ping-pong"))
		sem_pingpong(n);
	else if (!strcmp(what, "msgget"))
		msgget_key(n);
	else if (!strcmp(what, "shm"))
		shm(n);
	else if (!strcmp(what, "mq-64"))
		mq(n, 64);
	else if (!strcmp(what, "mq-4k"))
		mq(n, 4096);
	else if (!strcmp(what, "mq-ping-pong"))
		mq_pingpong(n);
	else
		return 2;
	return 0;
}

int main(int argc, char **argv)
{
	int asleep, status = 0;

	if (argc < 3 || argc > 4)
		return 2;
	if (!strcmp(argv[1], "memory")) {
		asleep = sleepers(atol(argv[2]));
		memory();
	} else {
		asleep = argc == 4 ? sleepers(atol(argv[3])) : -1;
		status = work(argv[1], atol(argv[2]));
	}
	if (asleep >= 0)
		wake(asleep);
	return status;
}
