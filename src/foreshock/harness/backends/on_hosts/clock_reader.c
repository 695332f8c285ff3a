/* Prints the wall clock and the monotonic clock as a program sees them, and as the kernel tells them, in ns.

   Under the shim the first two are skewed; the last two never are: they come from the kernel itself. */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPTS 10
#define MOMENT_NS 200000

static int64_t ns_of(struct timespec time)
{
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(void)
{
	struct timespec began, wall, monotonic, host_wall, host_monotonic;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &began);
		clock_gettime(CLOCK_REALTIME, &wall);
		syscall(SYS_clock_gettime, CLOCK_REALTIME, &host_wall);
		clock_gettime(CLOCK_MONOTONIC, &monotonic);
		syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &host_monotonic);
		if (ns_of(host_monotonic) - ns_of(began) < MOMENT_NS)
			break; /* else the process had to wait for its turn between two of them */
	}
	printf("%lld %lld %lld %lld\n", (long long)ns_of(wall), (long long)ns_of(monotonic),
	       (long long)ns_of(host_wall), (long long)ns_of(host_monotonic));
	return 0;
}
