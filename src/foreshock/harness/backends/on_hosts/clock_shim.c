/* Lets a program live by the clocks of a clock file: preloaded into it by LD_PRELOAD, with FORESHOCK_CLOCK=FILE.

   What the file says and how it changes under way is told in clock_file.py, which writes it. Both clocks can be moved
   apart: REALTIME and its kin by the file's wall figures, MONOTONIC and its kin by its monotonic ones. The clocks of
   processes and threads (CPU time) are left alone, and so is clock_getres().

   A wait ends when the program's own clock has come to its end: time-outs are stretched by its pace, and moments
   (TIMER_ABSTIME, pthread_cond_timedwait() and so on) are translated to what the kernel calls them. What is under way
   when the file changes ends as it was begun. Without the file, or with one that makes no sense, all is as ever; that
   the clocks do move is for others to verify.

   Not reached: programs that are linked statically or ask the kernel themselves (Go, rdtsc), timers that raise signals
   (alarm, setitimer, timer_settime), and what the kernel does of itself (time-outs of sockets, times of files). */

#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#if __SIZEOF_LONG__ < 8
#error "the clock shim is for 64-bit machines"
#endif

#define BILLION 1000000000LL
#define MILLION 1000000LL
#define FILE_BYTES 128
#define CLOCKS_MAX 16

enum kind { OWN, WALL, MONOTONIC };

struct slot {
	int64_t base_ns, wall_ahead_ns, monotonic_ahead_ns, wall_ppm, monotonic_ppm;
};

/* What is true now of the program's clocks. */
struct skew {
	int64_t wall_ahead_ns, monotonic_ahead_ns, wall_ppm, monotonic_ppm, host_ns;
};

static _Atomic(const unsigned char *) file;
static const unsigned char none[FILE_BYTES];
static _Atomic int64_t latest_ns[CLOCKS_MAX];

/* The function of this name that comes after ours. */
#define REAL(name)                                                       \
	({                                                               \
		static _Atomic(void *) found;                            \
		void *function = atomic_load(&found);                    \
		if (function == NULL) {                                  \
			function = dlsym(RTLD_NEXT, #name);              \
			atomic_store(&found, function);                  \
		}                                                        \
		(__typeof__(&name))function;                             \
	})

static const unsigned char *map_file(void)
{
	const char *path = getenv("FORESHOCK_CLOCK");
	struct stat about;
	void *mapped;
	int fd, before = errno;

	if (path == NULL || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
		errno = before;
		return none;
	}
	mapped = fstat(fd, &about) == 0 && about.st_size == FILE_BYTES
			 ? mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0)
			 : MAP_FAILED;
	close(fd);
	errno = before;
	if (mapped == MAP_FAILED || memcmp(mapped, "FSCLOCK1", 8) != 0)
		return none;
	return mapped;
}

__attribute__((constructor)) static void begin(void)
{
	const unsigned char *nothing = NULL, *mapped;

	if (atomic_load(&file) != NULL)
		return;
	mapped = map_file();
	atomic_compare_exchange_strong(&file, &nothing, mapped);
}

static int64_t host_ns(clockid_t clock)
{
	struct timespec now = {0, 0};

	syscall(SYS_clock_gettime, clock, &now);
	return now.tv_sec * BILLION + now.tv_nsec;
}

static int64_t gained(int64_t elapsed_ns, int64_t ppm)
{
	return (int64_t)((__int128)elapsed_ns * ppm / MILLION);
}

static struct skew look(void)
{
	const unsigned char *from;
	const _Atomic uint64_t *number;
	struct skew skew;
	struct slot slot;
	uint64_t seen;
	int64_t elapsed_ns;

	begin();
	from = atomic_load(&file);
	number = (const _Atomic uint64_t *)(from + 8);
	do {
		seen = atomic_load_explicit(number, memory_order_acquire);
		memcpy(&slot, from + (seen & 1 ? 64 : 16), sizeof slot);
		skew.host_ns = host_ns(CLOCK_MONOTONIC);
		atomic_thread_fence(memory_order_acquire);
	} while (atomic_load_explicit(number, memory_order_relaxed) != seen);
	elapsed_ns = skew.host_ns > slot.base_ns ? skew.host_ns - slot.base_ns : 0;
	skew.wall_ppm = slot.wall_ppm;
	skew.monotonic_ppm = slot.monotonic_ppm;
	skew.wall_ahead_ns = slot.wall_ahead_ns + gained(elapsed_ns, slot.wall_ppm);
	skew.monotonic_ahead_ns = slot.monotonic_ahead_ns + gained(elapsed_ns, slot.monotonic_ppm);
	return skew;
}

static enum kind kind_of(clockid_t clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_REALTIME_ALARM:
	case CLOCK_TAI:
		return WALL;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
	case CLOCK_BOOTTIME_ALARM:
		return MONOTONIC;
	default:
		return OWN;
	}
}

/* A clock that only goes forward does so in this process whatever is written to the file. */
static int64_t never_back(clockid_t clock, int64_t now_ns)
{
	int64_t before_ns = atomic_load(&latest_ns[clock]);

	while (before_ns < now_ns)
		if (atomic_compare_exchange_weak(&latest_ns[clock], &before_ns, now_ns))
			return now_ns;
	return before_ns;
}

static int show(clockid_t clock, struct timespec *now)
{
	enum kind kind = kind_of(clock);
	struct skew skew;
	int64_t ns;

	if (syscall(SYS_clock_gettime, clock, now) != 0)
		return -1;
	if (kind == OWN)
		return 0;
	skew = look();
	ns = now->tv_sec * BILLION + now->tv_nsec;
	if (kind == WALL) {
		ns += skew.wall_ahead_ns;
	} else {
		ns = (clock == CLOCK_MONOTONIC ? skew.host_ns : ns) + skew.monotonic_ahead_ns;
		ns = never_back(clock, ns);
	}
	if (ns < 0)
		ns = 0;
	now->tv_sec = ns / BILLION;
	now->tv_nsec = ns % BILLION;
	return 0;
}

/* --- reading ------------------------------------------------------------------------------------------------ */

int clock_gettime(clockid_t clock, struct timespec *now)
{
	return show(clock, now);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec shown;

	if (show(CLOCK_REALTIME, &shown) != 0)
		return -1;
	now->tv_sec = shown.tv_sec;
	now->tv_usec = shown.tv_nsec / 1000;
	if (zone != NULL)
		memset(zone, 0, sizeof(struct timezone));
	return 0;
}

time_t time(time_t *now)
{
	struct timespec shown;

	if (show(CLOCK_REALTIME, &shown) != 0)
		return -1;
	if (now != NULL)
		*now = shown.tv_sec;
	return shown.tv_sec;
}

int timespec_get(struct timespec *now, int base)
{
	if (base != TIME_UTC)
		return 0;
	return show(CLOCK_REALTIME, now) == 0 ? base : 0;
}

/* --- how long, and until when ------------------------------------------------------------------------------- */

static int64_t ns_of(const struct timespec *time)
{
	if (time->tv_sec > INT64_MAX / BILLION - 1)
		return INT64_MAX - BILLION;
	return time->tv_sec * BILLION + time->tv_nsec;
}

static struct timespec time_of(int64_t ns)
{
	struct timespec time = {ns / BILLION, ns % BILLION};

	return time;
}

static int sane(const struct timespec *time)
{
	return time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < BILLION;
}

/* How long the host's clock takes while one of this pace advances by so much: at least as long as it must. */
static int64_t true_ns(int64_t ns, int64_t ppm)
{
	__int128 stretched;

	if (ns <= 0)
		return ns;
	stretched = ((__int128)ns * MILLION + (MILLION + ppm - 1)) / (MILLION + ppm);
	return stretched > INT64_MAX - BILLION ? INT64_MAX - BILLION : (int64_t)stretched;
}

/* The same of a time-out; one that is no time is left for the kernel to refuse. */
static struct timespec true_wait(const struct timespec *wait)
{
	return sane(wait) ? time_of(true_ns(ns_of(wait), look().monotonic_ppm)) : *wait;
}

/* What is left of a wait, by the program's clock. */
static struct timespec shown_rest(const struct timespec *rest)
{
	struct skew skew = look();
	int64_t ns = ns_of(rest);

	return time_of(ns + gained(ns, skew.monotonic_ppm));
}

/* What the host calls the moment that a clock of this kind will show; never the zero that stands for no moment. */
static struct timespec true_moment(enum kind kind, const struct timespec *moment)
{
	struct skew skew = look();
	int64_t now_ns = kind == WALL ? host_ns(CLOCK_REALTIME) : skew.host_ns;
	int64_t ahead_ns = kind == WALL ? skew.wall_ahead_ns : skew.monotonic_ahead_ns;
	int64_t left_ns;

	if (!sane(moment) || kind == OWN)
		return *moment;
	left_ns = true_ns(ns_of(moment) - (now_ns + ahead_ns), kind == WALL ? skew.wall_ppm : skew.monotonic_ppm);
	if (left_ns > INT64_MAX - BILLION - now_ns)
		left_ns = INT64_MAX - BILLION - now_ns;
	return time_of(left_ns > 1 - now_ns ? now_ns + left_ns : 1);
}

/* Some calls do not say by which clock a moment is told. No machine has run for fifteen years, and it is after 1985. */
static enum kind guessed(const struct timespec *moment)
{
	return moment->tv_sec > 500 * MILLION ? WALL : MONOTONIC;
}

static int true_ms(int ms)
{
	int64_t ns;

	if (ms <= 0)
		return ms;
	ns = true_ns(ms * MILLION, look().monotonic_ppm);
	ns = (ns + MILLION - 1) / MILLION;
	return ns > INT32_MAX ? INT32_MAX : (int)ns;
}

/* --- sleeping ----------------------------------------------------------------------------------------------- */

int nanosleep(const struct timespec *wait, struct timespec *rest)
{
	struct timespec host = true_wait(wait);
	int result = REAL(nanosleep)(&host, rest);

	if (result != 0 && errno == EINTR && rest != NULL)
		*rest = shown_rest(rest);
	return result;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wait, struct timespec *rest)
{
	enum kind kind = kind_of(clock);
	struct timespec host;
	int result;

	if (kind == OWN)
		return REAL(clock_nanosleep)(clock, flags, wait, rest);
	host = flags & TIMER_ABSTIME ? true_moment(kind, wait) : true_wait(wait);
	result = REAL(clock_nanosleep)(clock, flags, &host, rest);
	if (result == EINTR && rest != NULL && !(flags & TIMER_ABSTIME))
		*rest = shown_rest(rest);
	return result;
}

unsigned int sleep(unsigned int seconds)
{
	struct timespec wait = {seconds, 0}, rest = {0, 0};

	if (nanosleep(&wait, &rest) == 0)
		return 0;
	return rest.tv_sec + (rest.tv_nsec > 0);
}

int usleep(useconds_t us)
{
	struct timespec wait = {us / MILLION, us % MILLION * 1000};

	return nanosleep(&wait, NULL);
}

/* --- waiting for files -------------------------------------------------------------------------------------- */

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	return REAL(poll)(fds, count, true_ms(timeout_ms));
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec host;

	if (timeout == NULL)
		return REAL(ppoll)(fds, count, timeout, mask);
	host = true_wait(timeout);
	return REAL(ppoll)(fds, count, &host, mask);
}

int select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict others,
	   struct timeval *restrict timeout)
{
	struct timespec wait;
	struct timeval host;
	int result;

	if (timeout == NULL || timeout->tv_sec < 0 || timeout->tv_usec < 0)
		return REAL(select)(count, reads, writes, others, timeout);
	wait = time_of(true_ns(timeout->tv_sec * BILLION + timeout->tv_usec * 1000, look().monotonic_ppm));
	host.tv_sec = wait.tv_sec;
	host.tv_usec = (wait.tv_nsec + 999) / 1000;
	result = REAL(select)(count, reads, writes, others, &host);
	wait.tv_sec = host.tv_sec;
	wait.tv_nsec = host.tv_usec * 1000;
	wait = shown_rest(&wait);
	timeout->tv_sec = wait.tv_sec;
	timeout->tv_usec = wait.tv_nsec / 1000;
	return result;
}

int pselect(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict others,
	    const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
	struct timespec host;

	if (timeout == NULL)
		return REAL(pselect)(count, reads, writes, others, timeout, mask);
	host = true_wait(timeout);
	return REAL(pselect)(count, reads, writes, others, &host, mask);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
	return REAL(epoll_wait)(fd, events, count, true_ms(timeout_ms));
}

int epoll_pwait(int fd, struct epoll_event *events, int count, int timeout_ms, const sigset_t *mask)
{
	return REAL(epoll_pwait)(fd, events, count, true_ms(timeout_ms), mask);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *wanted, struct itimerspec *before)
{
	struct itimerspec host = *wanted;
	int result;

	if (host.it_value.tv_sec != 0 || host.it_value.tv_nsec != 0)
		host.it_value = flags & TFD_TIMER_ABSTIME ? true_moment(guessed(&host.it_value), &host.it_value)
							  : true_wait(&host.it_value);
	host.it_interval = true_wait(&host.it_interval);
	result = REAL(timerfd_settime)(fd, flags, &host, before);
	if (result == 0 && before != NULL) {
		before->it_value = shown_rest(&before->it_value);
		before->it_interval = shown_rest(&before->it_interval);
	}
	return result;
}

int sigtimedwait(const sigset_t *restrict signals, siginfo_t *restrict about, const struct timespec *restrict timeout)
{
	struct timespec host;

	if (timeout == NULL)
		return REAL(sigtimedwait)(signals, about, timeout);
	host = true_wait(timeout);
	return REAL(sigtimedwait)(signals, about, &host);
}

/* --- waiting for other threads ------------------------------------------------------------------------------ */

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
			   const struct timespec *restrict until)
{
	struct timespec host = true_moment(guessed(until), until);

	return REAL(pthread_cond_timedwait)(condition, mutex, &host);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until)
{
	struct timespec host = true_moment(WALL, until);

	return REAL(sem_timedwait)(semaphore, &host);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
{
	struct timespec host = true_moment(WALL, until);

	return REAL(pthread_mutex_timedlock)(mutex, &host);
}

int pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict lock, const struct timespec *restrict until)
{
	struct timespec host = true_moment(WALL, until);

	return REAL(pthread_rwlock_timedrdlock)(lock, &host);
}

int pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict lock, const struct timespec *restrict until)
{
	struct timespec host = true_moment(WALL, until);

	return REAL(pthread_rwlock_timedwrlock)(lock, &host);
}

#if __GLIBC_PREREQ(2, 30)
int pthread_cond_clockwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, clockid_t clock,
			   const struct timespec *restrict until)
{
	struct timespec host = true_moment(kind_of(clock), until);

	return REAL(pthread_cond_clockwait)(condition, mutex, clock, &host);
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict until)
{
	struct timespec host = true_moment(kind_of(clock), until);

	return REAL(sem_clockwait)(semaphore, clock, &host);
}

int pthread_mutex_clocklock(pthread_mutex_t *restrict mutex, clockid_t clock, const struct timespec *restrict until)
{
	struct timespec host = true_moment(kind_of(clock), until);

	return REAL(pthread_mutex_clocklock)(mutex, clock, &host);
}
#endif
