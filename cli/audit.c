/* windlass audit export and verify: the chain is computed here anew, so that the server need not be believed. */
#include "cli/actions.h"
#include "cli/files.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"
#include "lib/secrets/audit_chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EXPORT_FILE_MAX (1u << 30)

/* Read all lines of the export, page after page; `take` gets each page's text. */
static int read_export(struct cli *cli, int (*take)(void *self, const struct wl_buffer *lines, struct wl_error *err),
		       void *self, const int64_t *last_seq, struct wl_error *err)
{
	for (;;) {
		_cli_response_ struct cli_response response = { 0 };
		char path[80];
		int64_t before = *last_seq;
		(void)snprintf(path, sizeof(path), "/audit-log/export?after_seq=%" PRId64, before);
		if (cli_get_raw(cli, path, NULL, &response, err) < 0 || take(self, &response.body, err) < 0)
			return -err->code;
		if (*last_seq == before)
			return 0;
	}
}

/* ---- lines --------------------------------------------------------------------------------------------------------
 */

struct walk {
	struct wl_audit_walk chain;
	int64_t last_seq; /* of the last line that was seen, whether it holds or not */
	FILE *copy;	  /* NULL: none */
};

static int take_line(struct walk *walk, const char *line, size_t length, struct wl_error *err)
{
	_wl_json_ struct wl_json *json = NULL;
	if (wl_json_parse(line, length, &json, err) < 0)
		return wl_fail_within(err, "the line behind entry %" PRId64, walk->last_seq);
	walk->last_seq = (int64_t)wl_json_get_number(json, "seq", 0);
	(void)wl_audit_walk_next(&walk->chain, walk->last_seq, wl_json_get_string(json, "prev", ""),
				 wl_json_get_string(json, "hash", ""), wl_json_get_string(json, "entry", ""));
	return 0;
}

static int take_lines(void *self, const struct wl_buffer *lines, struct wl_error *err)
{
	struct walk *walk = self;
	const char *at = lines->data ? lines->data : "";
	const char *end = at + lines->length;
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		if (!stop)
			stop = end;
		if (stop > at && take_line(walk, at, (size_t)(stop - at), err) < 0)
			return -err->code;
		at = stop + (stop < end);
	}
	if (walk->copy && lines->length && fwrite(lines->data, 1, lines->length, walk->copy) != lines->length)
		return wl_fail_errno(err, errno ? errno : EIO, "write the log");
	return 0;
}

/* ---- commands -----------------------------------------------------------------------------------------------------
 */

int cli_audit_export(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	struct walk walk = { .copy = stdout };
	const char *file = arguments->word_count > 1 ? arguments->words[1] : NULL;
	if (cli_connect(cli, arguments, err) < 0)
		return -err->code;
	_wl_fclose_ FILE *copy = file ? fopen(file, "wxe") : NULL;
	if (file && !copy)
		return wl_fail_errno(err, errno, "make %.200s", file);
	if (copy)
		walk.copy = copy;
	if (read_export(cli, take_lines, &walk, &walk.last_seq, err) < 0)
		return -err->code;
	return fflush(walk.copy) == 0 ? 0 : wl_fail(err, EIO, "the log could not be written");
}

static int verify_file(const char *file, struct walk *walk, struct wl_error *err)
{
	_wl_buffer_ struct wl_buffer text;
	wl_buffer_init(&text, EXPORT_FILE_MAX);
	return cli_file_read(file, &text, err) < 0 ? -err->code : take_lines(walk, &text, err);
}

/* What the server says of the end of its chain. */
static int compare_head(struct cli *cli, const struct walk *walk, struct wl_error *err)
{
	_wl_json_ struct wl_json *head = NULL;
	if (cli_get(cli, "/audit-log/verify", &head, err) < 0)
		return -err->code;
	if (!wl_json_get_bool(head, "ok", false))
		return wl_fail(err, EREMOTEIO, "the server finds its own log damaged: %.200s",
			       wl_json_get_string(head, "detail", ""));
	if (walk->chain.seq > (int64_t)wl_json_get_number(head, "head_seq", 0))
		return wl_fail(err, EREMOTEIO, "the server's log ends before entry %" PRId64, walk->chain.seq);
	return 0;
}

int cli_audit_verify(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	struct walk walk = { .copy = NULL };
	const char *file = arguments->word_count > 1 ? arguments->words[1] : NULL;
	int r = file ? verify_file(file, &walk, err) : cli_connect(cli, arguments, err);
	if (r == 0 && !file)
		r = read_export(cli, take_lines, &walk, &walk.last_seq, err);
	if (r < 0)
		return r;
	if (walk.chain.broken)
		return wl_fail(err, EREMOTEIO, "the chain is broken: %s", walk.chain.fault);
	if (!file && compare_head(cli, &walk, err) < 0)
		return -err->code;
	_wl_buffer_ struct wl_buffer out;
	wl_buffer_init(&out, 0);
	(void)wl_buffer_appendf(&out,
				cli->json ? "{\"ok\":true,\"entries\":%" PRId64 ",\"hash\":\"%s\"}\n"
					  : "%" PRId64 " entries hold; the last hash is %s\n",
				walk.chain.seq, walk.chain.hash);
	return cli_print_buffer(&out, err);
}
