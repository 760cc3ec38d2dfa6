/*
 * Objects in a bucket of an S3 server, by libcurl and its signer (AWS Signature Version 4). The signer of the libcurl
 * that we run with does not send the hash of the body by itself, though servers ask for it: so it is always given, and
 * signed with the rest. Bodies are sent with their own hash, so a server that got other bytes refuses them.
 *
 * A call is tried again when the server cannot be reached, answers 5xx or 429, breaks off or sends another number of
 * bytes than it was asked for; one that hangs is asked only twice. All calls may be repeated without harm: put and
 * remove name what they change.
 *
 * No sentence of this file repeats the URL, the keys or a signature.
 */
#include "lib/store/object_store.h"

#include "lib/base/buffer.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/ids.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES 4
#define FIRST_PAUSE_MS 100
#define CONNECT_MS 5000L
#define SLOWEST_BYTES 1024L /* fewer a second ... */
#define SLOWEST_S 10L	    /* ... for so long is a server that hangs */
#define HANGING_TRIES 2	    /* of one that hangs: its callers have waited long enough */
#define LONGEST_S 600L
#define ANSWER_MAX (2u << 20) /* bytes of a list; of an error much less is there */
#define HANDLES 16	      /* connections kept for the next call */
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct s3 {
	char *base;	   /* http(s)://host:port/bucket */
	char *credentials; /* access:secret */
	char provider[80]; /* for the signer */
	pthread_mutex_t lock;
	CURL *idle[HANDLES];
	int idle_count;
};

/* One request, tried several times, and what came back. */
struct call {
	const char *method;
	const char *path; /* behind the bucket: "/key" or "?query" */
	const struct object_source *source;
	uint64_t sent;
	char range[64];
	/* the answer goes here when it is what was asked for, else into `text` */
	void *into;
	size_t wanted, got;
	struct wl_buffer text;
	long status;
	bool hangs; /* the last try was given up for lack of progress */
	CURL *easy;
};

/* ---- bytes in and out -------------------------------------------------------------------------------------- */

static size_t give_body(char *into, size_t size, size_t count, void *context)
{
	struct call *call = context;
	const struct object_source *source = call->source;
	size_t room = size * count;
	uint64_t left = source->length - call->sent;
	size_t want = left < room ? (size_t)left : room;
	if (source->fd < 0) {
		memcpy(into, (const char *)source->bytes + call->sent, want);
	} else if (want > 0) {
		ssize_t got = pread(source->fd, into, want, (off_t)(source->offset + call->sent));
		if (got <= 0)
			return CURL_READFUNC_ABORT;
		want = (size_t)got;
	}
	call->sent += want;
	return want;
}

static int rewind_body(void *context, curl_off_t offset, int origin)
{
	struct call *call = context;
	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > call->source->length)
		return CURL_SEEKFUNC_FAIL;
	call->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* More than was asked for ends the transfer. */
static size_t take_answer(char *bytes, size_t size, size_t count, void *context)
{
	struct call *call = context;
	size_t length = size * count;
	long status = 0;
	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (!call->into || (status != 200 && status != 206))
		return wl_buffer_append(&call->text, bytes, length) < 0 ? 0 : length;
	if (length > call->wanted - call->got)
		return 0;
	memcpy((char *)call->into + call->got, bytes, length);
	call->got += length;
	return length;
}

/* ---- handles ----------------------------------------------------------------------------------------------- */

static CURL *take_handle(struct s3 *s3)
{
	CURL *easy = NULL;
	(void)pthread_mutex_lock(&s3->lock);
	if (s3->idle_count > 0)
		easy = s3->idle[--s3->idle_count];
	(void)pthread_mutex_unlock(&s3->lock);
	return easy ? easy : curl_easy_init();
}

static void give_handle_back(struct s3 *s3, CURL *easy)
{
	bool kept = false;
	curl_easy_reset(easy); /* keeps the connection; forgets the secret */
	(void)pthread_mutex_lock(&s3->lock);
	if (s3->idle_count < HANDLES) {
		s3->idle[s3->idle_count++] = easy;
		kept = true;
	}
	(void)pthread_mutex_unlock(&s3->lock);
	if (!kept)
		curl_easy_cleanup(easy);
}

/* ---- one try ----------------------------------------------------------------------------------------------- */

static struct curl_slist *make_headers(const struct call *call)
{
	char line[128] = "x-amz-content-sha256: " EMPTY_SHA256;
	struct curl_slist *headers;
	if (call->source)
		for (size_t i = 0; i < OBJECT_HASH_BYTES; i++)
			(void)snprintf(line + strlen("x-amz-content-sha256: ") + 2 * i, 3, "%02x",
				       call->source->sha256[i]);
	headers = curl_slist_append(NULL, line);
	if (headers && !curl_slist_append(headers, "Expect:")) {
		curl_slist_free_all(headers);
		return NULL;
	}
	if (headers && call->source && !curl_slist_append(headers, "Content-Type: application/octet-stream")) {
		curl_slist_free_all(headers);
		return NULL;
	}
	return headers;
}

static void set_up(const struct s3 *s3, struct call *call, const char *url, struct curl_slist *headers)
{
	CURL *easy = call->easy;
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, SLOWEST_BYTES);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, SLOWEST_S);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, LONGEST_S);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "Windlass");
	curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, s3->provider);
	curl_easy_setopt(easy, CURLOPT_USERPWD, s3->credentials);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	if (*call->range)
		curl_easy_setopt(easy, CURLOPT_RANGE, call->range);
	if (call->source) {
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->source->length);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
		curl_easy_setopt(easy, CURLOPT_READDATA, call);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, rewind_body);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
}

/* <Code> of an error's XML, if it is one word. */
static void read_code(const struct wl_buffer *text, char code[48])
{
	const char *from = text->data ? strstr(text->data, "<Code>") : NULL;
	size_t length = 0;
	if (from)
		length = strspn(from + 6, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	(void)snprintf(code, 48, "%.*s", length < 47 ? (int)length : 0, from ? from + 6 : "");
}

/* What a status means; 0 for success. */
static int judge(const struct call *call, struct wl_error *err)
{
	static const struct {
		long status;
		int errnum;
	} meanings[] = { { 404, ENOENT }, { 416, ERANGE }, { 401, EACCES }, { 403, EACCES },
			 { 409, EAGAIN }, { 429, EAGAIN }, { 507, ENOSPC } };
	char code[48];
	int errnum = call->status >= 500 ? EAGAIN : EIO;
	if (call->status >= 200 && call->status < 300)
		return 0;
	for (size_t i = 0; i < WL_COUNT_OF(meanings); i++)
		if (meanings[i].status == call->status)
			errnum = meanings[i].errnum;
	read_code(&call->text, code);
	if (strcmp(code, "NoSuchBucket") == 0)
		errnum = ENXIO; /* not to be taken for an object that is gone already */
	if (strcmp(code, "XAmzContentSHA256Mismatch") == 0 || strcmp(code, "BadDigest") == 0)
		errnum = EBADMSG;
	return wl_fail(err, errnum, "the S3 server answered %ld%s%s", call->status, *code ? " " : "", code);
}

static int try_once(struct s3 *s3, struct call *call, const char *url, struct wl_error *err)
{
	struct curl_slist *headers = make_headers(call);
	call->easy = take_handle(s3);
	call->sent = 0;
	call->got = 0;
	call->status = 0;
	wl_buffer_clear(&call->text);
	call->text.failed = 0;
	int result = headers && call->easy ? 0 : wl_fail(err, ENOMEM, "no memory for the S3 server");
	if (result == 0) {
		set_up(s3, call, url, headers);
		CURLcode code = curl_easy_perform(call->easy);
		(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->status);
		call->hangs = code == CURLE_OPERATION_TIMEDOUT;
		if (code != CURLE_OK)
			result = wl_fail(err, code == CURLE_OUT_OF_MEMORY ? ENOMEM : EAGAIN, "the S3 server: %s",
					 curl_easy_strerror(code));
		else
			result = judge(call, err);
	}
	if (call->easy)
		give_handle_back(s3, call->easy);
	call->easy = NULL;
	curl_slist_free_all(headers);
	if (result == 0 && call->into && call->got != call->wanted)
		return wl_fail(err, EAGAIN, "the S3 server sent %zu bytes in place of %zu", call->got, call->wanted);
	/* a whole object in place of a part of it is wrong unless they are the same */
	if (result == 0 && call->into && *call->range && call->status != 206 && strncmp(call->range, "0-", 2) != 0)
		return wl_fail(err, EIO, "the S3 server does not know ranges");
	return result;
}

static void pause_ms(unsigned ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	(void)nanosleep(&time, NULL);
}

/* Make the call, and again while that may help. The longer pauses have up to their half more by chance. */
static int make_call(struct s3 *s3, struct call *call, struct wl_error *err)
{
	char url[1024];
	unsigned pause = FIRST_PAUSE_MS;
	if ((size_t)snprintf(url, sizeof(url), "%s%s", s3->base, call->path) >= sizeof(url))
		return wl_fail(err, EINVAL, "the address of an object is too long");
	wl_buffer_init(&call->text, ANSWER_MAX);
	for (int tried = 1;; tried++) {
		int result = try_once(s3, call, url, err);
		if (result != -EAGAIN)
			return result;
		if (tried == (call->hangs ? HANGING_TRIES : TRIES)) {
			if (err)
				err->code = EIO;
			return -EIO;
		}
		uint8_t chance = 0;
		wl_random_bytes(&chance, sizeof(chance));
		pause_ms(pause + pause * chance / 512);
		pause *= 3;
	}
}

static int object_path(const char *key, char path[OBJECT_KEY_MAX + 1], struct wl_error *err)
{
	if (!object_key_valid(key))
		return wl_fail(err, EINVAL, "'%.64s' is no key of an object", key);
	(void)snprintf(path, OBJECT_KEY_MAX + 1, "/%s", key);
	return 0;
}

/* ---- the port ------------------------------------------------------------------------------------------------ */

static int s3_put(void *self, const char *key, const struct object_source *source, struct wl_error *err)
{
	char path[OBJECT_KEY_MAX + 1];
	struct call call = { .method = "PUT", .path = path, .source = source };
	if (object_path(key, path, err) < 0)
		return -err->code;
	int result = make_call(self, &call, err);
	wl_buffer_release(&call.text);
	return result;
}

static int s3_read(void *self, const char *key, uint64_t offset, void *into, size_t length, struct wl_error *err)
{
	char path[OBJECT_KEY_MAX + 1];
	struct call call = { .method = "GET", .path = path, .into = into, .wanted = length };
	if (object_path(key, path, err) < 0)
		return -err->code;
	if (length == 0)
		return 0; /* a range of no bytes cannot be asked for */
	(void)snprintf(call.range, sizeof(call.range), "%llu-%llu", (unsigned long long)offset,
		       (unsigned long long)(offset + length - 1));
	int result = make_call(self, &call, err);
	wl_buffer_release(&call.text);
	return result;
}

static int s3_remove(void *self, const char *key, struct wl_error *err)
{
	char path[OBJECT_KEY_MAX + 1];
	struct call call = { .method = "DELETE", .path = path };
	if (object_path(key, path, err) < 0)
		return -err->code;
	int result = make_call(self, &call, err);
	wl_buffer_release(&call.text);
	return result == -ENOENT ? 0 : result;
}

static int s3_list(void *self, const char *prefix, int (*each)(void *context, const char *key), void *context,
		   struct wl_error *err)
{
	char path[3 * OBJECT_KEY_MAX + 64] = "?list-type=2&max-keys=1000&prefix=";
	struct call call = { .method = "GET", .path = path };
	size_t at = strlen(path);
	char plain[OBJECT_KEY_MAX];
	size_t length = strnlen(prefix, sizeof(plain));
	if (length == sizeof(plain) || (length > 0 && prefix[length - 1] != '/'))
		return wl_fail(err, EINVAL, "a prefix of objects ends in /");
	(void)snprintf(plain, sizeof(plain), "%.*s", length > 0 ? (int)length - 1 : 0, prefix);
	if (length > 0 && !object_key_valid(plain))
		return wl_fail(err, EINVAL, "'%.64s' is no prefix of objects", prefix);
	for (const char *letter = prefix; *letter; letter++)
		at += (size_t)snprintf(path + at, sizeof(path) - at, *letter == '/' ? "%%2F" : "%c", *letter);
	int result = make_call(self, &call, err);
	if (result == 0)
		result =
			object_s3_list_read(call.text.data ? call.text.data : "", call.text.length, each, context, err);
	wl_buffer_release(&call.text);
	return result;
}

/* ---- open ------------------------------------------------------------------------------------------------------ */

static void s3_close(void *self)
{
	struct s3 *s3 = self;
	while (s3->idle_count > 0)
		curl_easy_cleanup(s3->idle[--s3->idle_count]);
	(void)pthread_mutex_destroy(&s3->lock);
	if (s3->credentials)
		explicit_bzero(s3->credentials, strlen(s3->credentials));
	free(s3->credentials);
	free(s3->base);
	free(s3);
}

struct url_parts {
	char *user, *password, *host, *port, *path, *query;
};

static void release_parts(struct url_parts *parts)
{
	if (parts->password)
		explicit_bzero(parts->password, strlen(parts->password));
	curl_free(parts->user);
	curl_free(parts->password);
	curl_free(parts->host);
	curl_free(parts->port);
	curl_free(parts->path);
	curl_free(parts->query);
}

static bool split_url(const char *url, struct url_parts *parts)
{
	CURLU *split = curl_url();
	bool good = split && strncmp(url, "s3://", 5) == 0 &&
		    curl_url_set(split, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
		    curl_url_get(split, CURLUPART_USER, &parts->user, CURLU_URLDECODE) == CURLUE_OK &&
		    curl_url_get(split, CURLUPART_PASSWORD, &parts->password, CURLU_URLDECODE) == CURLUE_OK &&
		    curl_url_get(split, CURLUPART_HOST, &parts->host, 0) == CURLUE_OK &&
		    curl_url_get(split, CURLUPART_PATH, &parts->path, 0) == CURLUE_OK;
	if (good) {
		(void)curl_url_get(split, CURLUPART_PORT, &parts->port, 0);
		(void)curl_url_get(split, CURLUPART_QUERY, &parts->query, 0);
	}
	curl_url_cleanup(split);
	return good;
}

/* "region=NAME&tls=0": false for anything else. */
static bool read_query(const char *query, char region[48], bool *ret_tls)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	while (query && *query) {
		size_t length = strcspn(query, "&");
		if (length > 7 && length - 7 < 48 && strncmp(query, "region=", 7) == 0 &&
		    strspn(query + 7, letters) == length - 7)
			(void)snprintf(region, 48, "%.*s", (int)length - 7, query + 7);
		else if (length == 5 && strncmp(query, "tls=", 4) == 0 && (query[4] == '0' || query[4] == '1'))
			*ret_tls = query[4] == '1';
		else
			return false;
		query += length + (query[length] == '&');
	}
	return true;
}

/* Rules of names of buckets: 3 to 63 of a-z, 0-9, "-" and "." (Amazon S3 user guide, bucket naming rules). */
static bool bucket_valid(const char *path)
{
	size_t length = strspn(path + 1, "abcdefghijklmnopqrstuvwxyz0123456789-.");
	return path[0] == '/' && length >= 3 && length <= 63 && path[1 + length] == '\0' && path[1] != '.' &&
	       path[1] != '-';
}

static bool read_url(const char *url, struct s3 *s3)
{
	struct url_parts parts = { 0 };
	char region[48] = "us-east-1";
	bool tls = true;
	bool good = split_url(url, &parts) && *parts.user && *parts.password && !strpbrk(parts.user, ":/") &&
		    bucket_valid(parts.path) && read_query(parts.query, region, &tls);
	if (good) {
		(void)snprintf(s3->provider, sizeof(s3->provider), "aws:amz:%s:s3", region);
		good = asprintf(&s3->base, "http%s://%s%s%s%s", tls ? "s" : "", parts.host, parts.port ? ":" : "",
				parts.port ? parts.port : "", parts.path) > 0 &&
		       asprintf(&s3->credentials, "%s:%s", parts.user, parts.password) > 0;
	}
	release_parts(&parts);
	return good;
}

static void curl_begin(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

int object_s3_open(const char *url, struct object_store *ret_store, struct wl_error *err)
{
	static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
	struct s3 *s3 = calloc(1, sizeof(*s3));
	(void)pthread_once(&curl_once, curl_begin);
	if (!s3)
		return wl_fail(err, ENOMEM, "no memory for the object store");
	(void)pthread_mutex_init(&s3->lock, NULL);
	if (!read_url(url, s3)) {
		s3_close(s3);
		return wl_fail(
			err, EINVAL,
			"s3_url must be s3://ACCESS:SECRET@host:port/bucket?region=NAME&tls=1 with %%-escapes in "
			"both keys");
	}
	*ret_store = (struct object_store){
		.self = s3, .put = s3_put, .read = s3_read, .remove = s3_remove, .list = s3_list, .close = s3_close
	};
	return 0;
}
