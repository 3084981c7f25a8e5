/*
 * start-in-c MODE PROGRAM [ARG...]: what "ipcns run" does, in as few system calls
 * as it takes, to compare with. The letters of MODE are u for a user namespace
 * that keeps the user's id, r for one that shows root's, and p for a
 * /dev/mqueue and a /dev/shm of the program's own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static void check(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(125);
	}
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	check(fd, path);
	check(write(fd, text, strlen(text)), path);
	check(close(fd), path);
}

int main(int argc, char **argv)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	const char *mode;
	int root;

	if (argc < 3)
		return 125;
	mode = argv[1];
	root = strchr(mode, 'r') != NULL;
	if (root || strchr(mode, 'u')) {
		check(unshare(CLONE_NEWUSER), "user namespace");
		put("/proc/self/setgroups", "deny");
		snprintf(map, sizeof map, "%u %u 1", root ? 0 : uid, uid);
		put("/proc/self/uid_map", map);
		snprintf(map, sizeof map, "%u %u 1", root ? 0 : gid, gid);
		put("/proc/self/gid_map", map);
	}
	check(unshare(CLONE_NEWIPC), "IPC namespace");
	if (strchr(mode, 'p')) {
		check(unshare(CLONE_NEWNS), "mount namespace");
		check(mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL), "/");
		check(mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "/dev/mqueue");
		check(mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"), "/dev/shm");
	}
	execv(argv[2], argv + 2);
	check(-1, argv[2]);
}
