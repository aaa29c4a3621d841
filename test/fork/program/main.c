// A program that hosts the library, and forks. Its first argument says what it does, the
// second is the directory of a space. It says what came of it on standard output, and
// ends with 1 if that is not right.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

enum { DONE = 0, FORKED = 1 };

static void fail(const char *what) {
	printf("fail %s\n", what);
	fflush(stdout);
	_exit(1);
}

static void must(int ok, const char *what) {
	if (!ok) fail(what);
}

// reap waits for a fork that must have ended well.
static void reap(pid_t pid, const char *what) {
	int status = 0;
	must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, what);
}

// beside: a fork goes on with the parent's handle while the parent writes.
static int beside(int h) {
	for (int i = 0; i < 500; i++) must(hostSet(h, i) == DONE, "set before the fork");
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 2000; i++) {
			must(hostSet(h, 100000 + i) == FORKED, "the fork has set with the handle of its parent");
			must(hostGet(h, i % 500) == FORKED, "the fork has read with the handle of its parent");
		}
		must(hostAll(h, FORKED) == FORKED, "an operation of the fork with the handle of its parent");
		must(hostClose(h) == FORKED, "the fork has closed the handle of its parent");
		must(hostSet(h, 1) == FORKED, "the fork has set with a closed handle of its parent");
		_exit(0);
	}
	for (int i = 0; i < 3000; i++) must(hostSet(h, i) == DONE, "set of the parent beside its fork");
	reap(pid, "the end of the fork");
	for (int i = 0; i < 3000; i++) must(hostGet(h, i) == DONE, "get of the parent after its fork");
	must(hostCheck(h) == 0, "check of the parent after its fork");
	must(hostClose(h) == DONE, "close of the parent");
	return 0;
}

// again: a fork opens the space anew, while its parent has it open.
static int again(int h, char *dir) {
	for (int i = 0; i < 200; i++) must(hostSet(h, i) == DONE, "set before the fork");
	pid_t pid = fork();
	if (pid == 0) {
		must(hostSet(h, 7) == FORKED, "the fork has set with the handle of its parent");
		int mine = hostOpen(dir);
		must(mine >= 0, "open of the fork");
		must(hostSet(h, 7) == FORKED, "the fork has set with the handle of its parent after it has opened its own");
		for (int i = 0; i < 200; i++) must(hostSet(mine, 1000 + i) == DONE, "set of the fork");
		for (int i = 0; i < 200; i++) must(hostGet(mine, i) == DONE && hostGet(mine, 1000 + i) == DONE, "get of the fork");
		_exit(0); // without a close, which would wait for goroutines: they have no thread in a fork

	}
	reap(pid, "the end of the fork");
	for (int i = 0; i < 200; i++) must(hostGet(h, 1000 + i) == DONE, "the parent reads what its fork has stored");
	for (int i = 0; i < 3000; i++) must(hostSet(h, i) == DONE, "set of the parent after its fork");
	must(hostCheck(h) == 0, "check of the parent after its fork");
	must(hostClose(h) == DONE, "close of the parent");
	return 0;
}

// within: the fork is made in the middle of a transaction, and goes on with it.
static int within(int h) {
	int pid = -1;
	int outcome = hostUpdate(h, 1000, &pid);
	if (pid == 0) {
		must(outcome == FORKED, "the fork has ended the transaction of its parent");
		must(hostSet(h, 1) == FORKED, "the fork has set with the handle of its parent");
		_exit(0);
	}
	must(outcome == DONE, "the transaction of the parent");
	reap(pid, "the end of the fork");
	for (int i = 0; i < 1000; i++) must(hostGet(h, i) == DONE, "get of the parent after its fork");
	for (int i = 0; i < 1000; i++) must(hostSet(h, i) == DONE, "set of the parent after its fork");
	must(hostCheck(h) == 0, "check of the parent after its fork");
	must(hostClose(h) == DONE, "close of the parent");
	return 0;
}

// orphan: the fork never calls the library, and outlives its parent, which holds what
// there is to hold, and is killed.
static void orphan(int h) {
	must(hostSet(h, 1) == DONE, "set");
	must(hostLock(h) == DONE, "lock");
	must(hostHold(h) == DONE, "the writer lock");
	pid_t pid = fork();
	if (pid == 0) {
		for (;;) pause();
	}
	printf("forked %d\n", pid);
	fflush(stdout);
	for (;;) pause();
}

int main(int argc, char **argv) {
	must(argc == 3, "usage: program beside|again|within|orphan DIR");
	int h = hostOpen(argv[2]);
	must(h >= 0, "open");
	int code = 2;
	if (!strcmp(argv[1], "beside")) code = beside(h);
	if (!strcmp(argv[1], "again")) code = again(h, argv[2]);
	if (!strcmp(argv[1], "within")) code = within(h);
	if (!strcmp(argv[1], "orphan")) orphan(h);
	if (code == 0) printf("well\n");
	return code;
}
