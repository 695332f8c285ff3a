/* Each kind of wait, for 190 ms by the program's own clocks; prints its name and how long it took by the host's. */

#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS 190000000LL

static int64_t host_ns(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static struct timespec in_a_while(clockid_t clock)
{
	struct timespec then;
	int64_t ns;

	clock_gettime(clock, &then);
	ns = then.tv_sec * 1000000000LL + then.tv_nsec + WAIT_NS;
	then.tv_sec = ns / 1000000000LL;
	then.tv_nsec = ns % 1000000000LL;
	return then;
}

#define TIMED(name, call)                                                                      \
	do {                                                                                   \
		int64_t began = host_ns();                                                     \
		call;                                                                          \
		printf("%s %lld\n", name, (long long)(host_ns() - began));                     \
	} while (0)

static void wait_for_timer(int flags, struct timespec when)
{
	struct itimerspec wanted = {{0, 0}, when};
	uint64_t rings;
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);

	timerfd_settime(fd, flags, &wanted, NULL);
	if (read(fd, &rings, sizeof rings) < 0)
		perror("timerfd");
	close(fd);
}

int main(void)
{
	struct timespec wait = {0, WAIT_NS}, until;
	struct timeval wait_us = {0, WAIT_NS / 1000};
	struct epoll_event event;
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t condition = PTHREAD_COND_INITIALIZER, steady;
	pthread_condattr_t attributes;
	sem_t semaphore;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&steady, &attributes);
	sem_init(&semaphore, 0, 0);
	pthread_mutex_lock(&mutex);
	TIMED("nanosleep", nanosleep(&wait, NULL));
	TIMED("usleep", usleep(WAIT_NS / 1000));
	until = in_a_while(CLOCK_REALTIME);
	TIMED("clock_nanosleep-wall", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
	until = in_a_while(CLOCK_MONOTONIC);
	TIMED("clock_nanosleep-monotonic", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
	TIMED("poll", poll(NULL, 0, WAIT_NS / 1000000));
	TIMED("ppoll", ppoll(NULL, 0, &wait, NULL));
	TIMED("select", select(0, NULL, NULL, NULL, &wait_us));
	TIMED("pselect", pselect(0, NULL, NULL, NULL, &wait, NULL));
	TIMED("epoll", epoll_wait(epoll_create1(0), &event, 1, WAIT_NS / 1000000));
	TIMED("timerfd", wait_for_timer(0, wait));
	TIMED("timerfd-monotonic", wait_for_timer(TFD_TIMER_ABSTIME, in_a_while(CLOCK_MONOTONIC)));
	until = in_a_while(CLOCK_REALTIME);
	TIMED("condition-wall", pthread_cond_timedwait(&condition, &mutex, &until));
	until = in_a_while(CLOCK_MONOTONIC);
	TIMED("condition-monotonic", pthread_cond_timedwait(&steady, &mutex, &until));
	until = in_a_while(CLOCK_REALTIME);
	TIMED("semaphore", sem_timedwait(&semaphore, &until));
	return 0;
}
