/*
 * notify-in-c WORK N: makes a call N times that a filter of seccomp(2) brings to
 * another process, and prints the nanoseconds that one took: the least that a
 * supervised call can take. WORK is what is done before the answer: nothing, or
 * copy, which copies memory of who calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1UL
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

static char memory[72]; /* a message of 64 bytes and its type */

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

static int install(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };

	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	return check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program), "seccomp");
}

static void call(int to, long n)
{
	int listener = install();
	char control[CMSG_SPACE(sizeof listener)] = { 0 };
	struct iovec byte = { "", 1 };
	struct msghdr header = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof listener);
	memcpy(CMSG_DATA(rights), &listener, sizeof listener);
	check(sendmsg(to, &header, 0), "sendmsg");
	close(listener);

	double start = now();

	for (long i = 0; i < n; i++)
		check(syscall(SYS_getppid, memory), "getppid");
	printf("%.1f\n", (now() - start) / n);
	exit(0);
}

static int receive_listener(int from)
{
	int listener;
	char control[CMSG_SPACE(sizeof listener)], byte;
	struct iovec into = { &byte, 1 };
	struct msghdr header = { .msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };

	check(recvmsg(from, &header, 0), "recvmsg");
	if (header.msg_controllen == 0)
		exit(1);
	memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof listener);
	return listener;
}

static void copy(pid_t from, __u64 address)
{
	struct iovec here = { memory, sizeof memory }, there = { (void *)(unsigned long)address, sizeof memory };

	check(process_vm_readv(from, &here, 1, &there, 1, 0), "process_vm_readv");
}

int main(int argc, char **argv)
{
	int pair[2], listener, copies;
	struct seccomp_notif request;

	if (argc != 3)
		return 2;
	copies = !strcmp(argv[1], "copy");
	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
	if (check(fork(), "fork") == 0)
		call(pair[1], atol(argv[2]));
	close(pair[1]);
	listener = receive_listener(pair[0]);
	check(ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP), "SECCOMP_IOCTL_NOTIF_SET_FLAGS");
	/* ENOENT: there is nobody any more. */
	for (;;) {
		memset(&request, 0, sizeof request);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (copies)
			copy(request.pid, request.data.args[0]);

		struct seccomp_notif_resp response = { .id = request.id };

		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) < 0)
			break;
	}
	check(wait(NULL), "wait");
	return 0;
}
