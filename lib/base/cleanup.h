/*
 * Cleanup by scope. A local declared with one of these attributes is released when its scope ends;
 * success hands a resource on with wl_steal() or wl_steal_fd().
 */
#ifndef WL_BASE_CLEANUP_H
#define WL_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void wl_cleanup_free(void *slot)
{
	free(*(void **)slot);
}

static inline void wl_cleanup_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void wl_cleanup_fclose(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

#define _wl_free_ __attribute__((cleanup(wl_cleanup_free)))
#define _wl_close_ __attribute__((cleanup(wl_cleanup_close)))
#define _wl_fclose_ __attribute__((cleanup(wl_cleanup_fclose)))

/* Take a pointer out of a variable that its scope would release. */
#define wl_steal(pointer)                                                                                              \
	({                                                                                                             \
		__typeof__(pointer) wl_taken_ = (pointer);                                                             \
		(pointer) = NULL;                                                                                      \
		wl_taken_;                                                                                             \
	})

/* Take a file descriptor out of a variable that its scope would close. */
static inline int wl_steal_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

#define WL_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
