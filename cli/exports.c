/* windlass export get: wait until an export is made, then take its file. */
#include "cli/actions.h"
#include "lib/base/cleanup.h"
#include "lib/base/ids.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIRST_LOOK_MS 100
#define LAST_LOOK_MS 2000

static void rest(long ms)
{
	const struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };
	(void)nanosleep(&pause, NULL);
}

/* Look again and again until it has ended; *ret_size is that of its file. */
static int await_ready(struct cli *cli, const char *path, uint64_t *ret_size, struct wl_error *err)
{
	for (long ms = FIRST_LOOK_MS;; ms = 2 * ms < LAST_LOOK_MS ? 2 * ms : LAST_LOOK_MS) {
		_wl_json_ struct wl_json *answer = NULL;
		if (cli_get(cli, path, &answer, err) < 0)
			return -err->code;
		const struct wl_json *export = wl_json_get(answer, "export");
		const char *state = wl_json_get_string(export, "state", "");
		*ret_size = (uint64_t)wl_json_get_number(export, "size", 0);
		if (strcmp(state, "ready") == 0)
			return 0;
		if (strcmp(state, "queued") != 0 && strcmp(state, "running") != 0)
			return wl_fail(err, EREMOTEIO, "the export has failed: %.300s",
				       wl_json_get_string(export, "error", "its server does not say why"));
		rest(ms);
	}
}

int cli_export_get(struct cli *cli, const struct cli_arguments *arguments, struct wl_error *err)
{
	const char *id = arguments->words[1];
	char about[80], path[96];
	uint64_t size = 0;
	if (!wl_uuid_valid(id))
		return wl_fail(err, EINVAL, "'%.64s' is not the id of an export; windlass export list shows them", id);
	(void)snprintf(about, sizeof(about), "/exports/%s", id);
	(void)snprintf(path, sizeof(path), "%s/content", about);
	if (cli_connect(cli, arguments, err) < 0 || await_ready(cli, about, &size, err) < 0)
		return -err->code;
	return cli_download(cli, path, size, arguments->word_count > 2 ? arguments->words[2] : NULL, err);
}
