/* windlass artifacts get and flow export: answers that are files. */
#include "cli/actions.h"
#include "cli/flows.h"
#include "cli/print.h"
#include "lib/base/cleanup.h"
#include "lib/base/ids.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PIECE (16u << 20) /* bytes of one request: so large files take little memory */

/* Write the bytes to standard output, or to a new file. */
static int deliver(const struct wl_buffer *bytes, const char *file, struct wl_error *err)
{
	if (!file)
		return cli_print_buffer(bytes, err);
	_wl_fclose_ FILE *out = fopen(file, "wxe");
	if (!out)
		return wl_fail_errno(err, errno, "make %.200s", file);
	if ((bytes->length && fwrite(bytes->data, 1, bytes->length, out) != bytes->length) || fflush(out) != 0)
		return wl_fail_errno(err, errno ? errno : EIO, "write %.200s", file);
	return 0;
}

static int write_pieces(struct cli *cli, const char *path, uint64_t size, FILE *out, struct wl_error *err)
{
	for (uint64_t at = 0; at < size;) {
		_cli_response_ struct cli_response response = { 0 };
		uint64_t piece = size - at < PIECE ? size - at : PIECE;
		char range[80];
		(void)snprintf(range, sizeof(range), "Range: bytes=%" PRIu64 "-%" PRIu64, at, at + piece - 1);
		if (cli_get_raw(cli, path, range, &response, err) < 0)
			return -err->code;
		if (response.body.length != piece)
			return wl_fail(err, EPROTO, "%s sent %zu bytes and not %" PRIu64, cli->login.url,
				       response.body.length, piece);
		if (fwrite(response.body.data, 1, piece, out) != piece)
			return wl_fail_errno(err, errno ? errno : EIO, "write what was downloaded");
		at += piece;
	}
	return fflush(out) == 0 ? 0 : wl_fail_errno(err, errno ? errno : EIO, "write what was downloaded");
}

int cli_download(struct cli *cli, const char *path, uint64_t size, const char *file, struct wl_error *err)
{
	if (!file)
		return write_pieces(cli, path, size, stdout, err);
	_wl_fclose_ FILE *out = fopen(file, "wxe");
	if (!out)
		return wl_fail_errno(err, errno, "make %.200s", file);
	int r = write_pieces(cli, path, size, out, err);
	if (r < 0)
		(void)unlink(file);
	return r;
}

int cli_artifact_get(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	_wl_json_ struct wl_json *answer = NULL;
	char about[80], path[96];
	const char *id = arguments->words[1];
	if (!wl_uuid_valid(id))
		return wl_fail(err, EINVAL, "'%.64s' is not the id of an artifact; windlass artifacts list shows them",
			       id);
	(void)snprintf(about, sizeof(about), "/artifacts/%s", id);
	(void)snprintf(path, sizeof(path), "%s/content", about);
	if (cli_connect(cli, arguments, err) < 0 || cli_get(cli, about, &answer, err) < 0)
		return -err->code;
	return cli_download(cli, path, (uint64_t)wl_json_get_number(wl_json_get(answer, "artifact"), "size", 0),
			    arguments->word_count > 2 ? arguments->words[2] : NULL, err);
}

int cli_flow_export(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	_cli_response_ struct cli_response response = { 0 };
	_wl_json_ struct wl_json *flow = NULL;
	char path[160];
	long version;
	if (cli_number(arguments, "version", 1, 2147483647L, 0, &version, err) < 0 ||
	    cli_connect(cli, arguments, err) < 0 || cli_flow_find(cli, arguments->words[1], &flow, err) < 0)
		return -err->code;
	int length = snprintf(path, sizeof(path), "/flows/%.40s/export?format=%s", wl_json_get_string(flow, "id", ""),
			      cli_value(arguments, "format", "yaml"));
	if (version)
		(void)snprintf(path + length, sizeof(path) - (size_t)length, "&version=%ld", version);
	if (cli_get_raw(cli, path, NULL, &response, err) < 0)
		return -err->code;
	return deliver(&response.body, arguments->word_count > 2 ? arguments->words[2] : NULL, err);
}
