#include "supervisor/spool.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define RECORD_MAGIC 0x574c5350u
#define RECORD_MAX (64u << 20)
#define NO_TEXT UINT32_MAX
#define SUFFIX ".spool"

struct record_head {
	uint32_t magic, length, crc;
};

/* The fields that are no texts. */
struct record_body {
	int32_t tenant, epoch, state, attempt;
	int64_t start_ms, end_ms;
	char eid[WL_UUID_TEXT];
};

/* CRC-32 of IEEE 802.3, bit by bit: a spool is written seldom. */
static uint32_t crc32_of(const void *bytes, size_t length)
{
	uint32_t crc = ~0U;
	for (size_t i = 0; i < length; i++) {
		crc ^= ((const unsigned char *)bytes)[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320U : 0);
	}
	return ~crc;
}

/* ---- records ----------------------------------------------------------------------------------------------- */

#define TEXT_COUNT 8

static void texts_of(struct wl_node_result *result, char ***texts)
{
	texts[0] = &result->node_id;
	texts[1] = &result->handle;
	texts[2] = &result->inputs_json;
	texts[3] = &result->outputs_json;
	texts[4] = &result->error_json;
	texts[5] = &result->receipt_json;
	texts[6] = &result->logs_json;
	texts[7] = &result->trace_json;
}

static int append_record(struct wl_buffer *out, const struct wl_node_result *result)
{
	char **texts[TEXT_COUNT];
	struct wl_node_result copy = *result;
	struct record_body body;
	memset(&body, 0, sizeof(body)); /* padding goes to the disk as well */
	body.tenant = result->tenant;
	body.epoch = result->epoch;
	body.state = (int32_t)result->state;
	body.attempt = result->attempt;
	body.start_ms = result->start_ms;
	body.end_ms = result->end_ms;
	memcpy(body.eid, result->eid, sizeof(body.eid));
	size_t head_at = out->length;
	struct record_head head = { .magic = RECORD_MAGIC };
	(void)wl_buffer_append(out, &head, sizeof(head));
	(void)wl_buffer_append(out, &body, sizeof(body));
	texts_of(&copy, texts);
	for (int i = 0; i < TEXT_COUNT; i++) {
		uint32_t length = *texts[i] ? (uint32_t)strlen(*texts[i]) : NO_TEXT;
		(void)wl_buffer_append(out, &length, sizeof(length));
		if (*texts[i])
			(void)wl_buffer_append(out, *texts[i], length);
	}
	if (out->failed)
		return -out->failed;
	head.length = (uint32_t)(out->length - head_at - sizeof(head));
	head.crc = crc32_of(out->data + head_at + sizeof(head), head.length);
	memcpy(out->data + head_at, &head, sizeof(head));
	return 0;
}

/* Take `length` bytes from the payload; false when it has fewer. */
static bool take(const char **at, size_t *left, void *to, size_t length)
{
	if (length > *left)
		return false;
	memcpy(to, *at, length);
	*at += length;
	*left -= length;
	return true;
}

static bool read_payload(const char *payload, size_t length, struct wl_node_result *result)
{
	struct record_body body;
	char **texts[TEXT_COUNT];
	if (!take(&payload, &length, &body, sizeof(body)) || body.state < 0 || body.state >= WL_NODE_STATE_COUNT)
		return false;
	*result = (struct wl_node_result){ .tenant = body.tenant,
					   .epoch = body.epoch,
					   .committed = true,
					   .state = (enum wl_node_state)body.state,
					   .attempt = body.attempt,
					   .start_ms = body.start_ms,
					   .end_ms = body.end_ms };
	body.eid[sizeof(body.eid) - 1] = '\0';
	memcpy(result->eid, body.eid, sizeof(result->eid));
	texts_of(result, texts);
	for (int i = 0; i < TEXT_COUNT; i++) {
		uint32_t size = 0;
		if (!take(&payload, &length, &size, sizeof(size)))
			return false;
		if (size == NO_TEXT)
			continue;
		if (size > length || !(*texts[i] = strndup(payload, size)))
			return false;
		payload += size;
		length -= size;
	}
	return result->node_id && length == 0;
}

static int read_exactly(int fd, void *to, size_t length, size_t offset)
{
	for (size_t done = 0; done < length;) {
		ssize_t got = pread(fd, (char *)to + done, length - done, (off_t)(offset + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		done += (size_t)got;
	}
	return 1;
}

int spool_read(const struct spool *spool, size_t *offset, struct wl_node_result *ret_result, struct wl_error *err)
{
	struct record_head head;
	int result = read_exactly(spool->fd, &head, sizeof(head), *offset);
	if (result < 0)
		return wl_fail_errno(err, -result, "read %s", spool->path);
	if (result == 0 || head.magic != RECORD_MAGIC || head.length > RECORD_MAX)
		return 0;
	_wl_free_ char *payload = malloc((size_t)head.length + 1);
	if (!payload)
		return wl_fail(err, ENOMEM, "no memory for a record of %s", spool->path);
	result = read_exactly(spool->fd, payload, head.length, *offset + sizeof(head));
	if (result < 0)
		return wl_fail_errno(err, -result, "read %s", spool->path);
	if (result == 0 || crc32_of(payload, head.length) != head.crc)
		return 0;
	struct wl_node_result read = { 0 };
	if (!read_payload(payload, head.length, &read)) {
		wl_node_result_release(&read);
		return 0;
	}
	*offset += sizeof(head) + head.length;
	*ret_result = read;
	return 1;
}

/* ---- the file ---------------------------------------------------------------------------------------------- */

int spool_append(struct spool *spool, const struct wl_node_result *const *results, int count, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer records;
	wl_buffer_init(&records, 0);
	for (int i = 0; i < count; i++)
		if (append_record(&records, results[i]) < 0)
			return wl_fail(err, ENOMEM, "no memory to write %s", spool->path);
	if (spool->used + records.length > spool->most)
		return wl_fail(err, ENOSPC, "%s has reached its %zu bytes", spool->path, spool->most);
	int result = wl_write_all(spool->fd, records.data, records.length);
	if (result == 0 && fdatasync(spool->fd) < 0)
		result = -errno;
	if (result < 0) {
		/* half a record at the end would hide those that follow */
		if (ftruncate(spool->fd, (off_t)spool->used) < 0)
			spool->most = 0;
		return wl_fail_errno(err, -result, "write %s", spool->path);
	}
	spool->used += records.length;
	return 0;
}

int spool_clear(struct spool *spool, struct wl_error *err)
{
	if (ftruncate(spool->fd, 0) < 0)
		return wl_fail_errno(err, errno, "empty %s", spool->path);
	spool->used = 0;
	return 0;
}

void spool_close(struct spool *spool)
{
	if (spool->fd < 0)
		return;
	if (spool->used == 0)
		(void)unlink(spool->path);
	(void)close(spool->fd);
	spool->fd = -1;
}

int spool_open(const char *folder, const char *supervisor, size_t most, struct spool *ret_spool, struct wl_error *err)
{
	struct spool spool = { .fd = -1, .most = most };
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return wl_fail_errno(err, errno, "make the folder %s (setting spool_dir)", folder);
	int length = snprintf(spool.path, sizeof(spool.path), "%s/%s.%d.%llu" SUFFIX, folder, supervisor, (int)getpid(),
			      (unsigned long long)wl_clock_monotonic_us());
	if (length >= (int)sizeof(spool.path))
		return wl_fail(err, ENAMETOOLONG, "the path of setting spool_dir is too long");
	spool.fd = open(spool.path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (spool.fd < 0)
		return wl_fail_errno(err, errno, "make %s (setting spool_dir)", spool.path);
	if (flock(spool.fd, LOCK_EX | LOCK_NB) < 0) {
		int code = errno;
		(void)close(spool.fd);
		return wl_fail_errno(err, code, "lock %s", spool.path);
	}
	*ret_spool = spool;
	return 0;
}

/* Open a file that ends in our suffix and take its lock; -1 when it is no such file or somebody holds it. */
static int lock_orphan(const char *folder, const char *name, struct spool *spool)
{
	size_t length = strlen(name);
	struct stat known;
	if (length <= sizeof(SUFFIX) || strcmp(name + length - (sizeof(SUFFIX) - 1), SUFFIX) != 0)
		return -1;
	if (snprintf(spool->path, sizeof(spool->path), "%s/%s", folder, name) >= (int)sizeof(spool->path))
		return -1;
	_wl_close_ int fd = open(spool->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -1;
	/* its owner may have removed it between our open and our lock */
	if (fstat(fd, &known) < 0 || known.st_nlink == 0)
		return -1;
	spool->used = (size_t)known.st_size;
	spool->fd = wl_steal_fd(&fd);
	return 0;
}

int spool_adopt(const char *folder, struct spool *ret_spool, struct wl_error *err)
{
	DIR *entries = opendir(folder);
	if (!entries)
		return errno == ENOENT ? 0
				       : wl_fail_errno(err, errno, "read the folder %s (setting spool_dir)", folder);
	struct spool spool = { .fd = -1, .most = SPOOL_MAX };
	struct dirent *entry;
	while (spool.fd < 0 && (entry = readdir(entries)))
		(void)lock_orphan(folder, entry->d_name, &spool);
	(void)closedir(entries);
	if (spool.fd < 0)
		return 0;
	*ret_spool = spool;
	return 1;
}
