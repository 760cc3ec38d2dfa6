/* Sandbox profiles and what is made of them: seccomp programs and OCI configurations. */
#include "lib/base/cleanup.h"
#include "lib/codec/json.h"
#include "supervisor/sandbox/environment.h"
#include "supervisor/sandbox/oci_config.h"
#include "supervisor/sandbox/profile.h"
#include "supervisor/sandbox/seccomp_filter.h"

#include <errno.h>
#include <ftw.h>
#include <linux/filter.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LIMIT "{\"default\":10,\"most\":20}"
#define LIMITS                                                                                                         \
	"\"limits\":{\"memory_mb\":" LIMIT ",\"cpu_milli\":" LIMIT ",\"pids\":" LIMIT ",\"wall_ms\":" LIMIT            \
	",\"output_kb\":" LIMIT "}"
#define GOOD "{\"binds\":[\"/usr\"],\"tmpfs\":[{\"path\":\"/work\",\"size_kb\":64}]," LIMITS ",\"seccomp\":\"list\"}"
#define LIST "{\"default_errno\":\"EPERM\",\"allow\":[{\"why\":\"x\",\"calls\":[\"read\",\"write\"]}]}"

static char folder[64];

static void put(const char *below, const char *text)
{
	char path[256];
	(void)snprintf(path, sizeof(path), "%s/%s", folder, below);
	_wl_fclose_ FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
}

static int new_folder(void **state)
{
	(void)state;
	char path[128];
	(void)strcpy(folder, "/tmp/windlass-profile-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/sandbox", folder);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/seccomp", folder);
	(void)mkdir(path, 0755);
	put("seccomp/list.json", LIST);
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

static int drop_folder(void **state)
{
	(void)state;
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void the_projects_own_policies_load(void **state)
{
	(void)state;
	struct profile_set set;
	struct wl_error err = { 0 };
	assert_int_equal(profile_set_load("policies", &set, &err), 0);
	const struct sandbox_profile *host = profile_find(&set, "host");
	assert_non_null(host);
	assert_null(profile_find(&set, "hos"));
	assert_true(host->standard.memory_mb <= host->most.memory_mb);
	assert_true(strlen(host->seccomp) > 500);
	profile_set_release(&set);
}

static void a_profile_is_read_and_hashed(void **state)
{
	(void)state;
	struct profile_set set;
	struct wl_error err = { 0 };
	uint8_t hash[32];
	put("sandbox/one.json", GOOD);
	put("sandbox/profile.schema.json", "not a profile");
	assert_int_equal(profile_set_load(folder, &set, &err), 0);
	assert_int_equal(set.count, 1);
	assert_string_equal(set.profiles[0].tmpfs[0].path, "/work");
	memcpy(hash, set.profiles[0].hash, sizeof(hash));
	profile_set_release(&set);
	/* the hash covers the list as well: another filter is another sandbox */
	put("seccomp/list.json", "{\"default_errno\":\"EPERM\",\"allow\":[{\"why\":\"x\",\"calls\":[\"read\"]}]}");
	assert_int_equal(profile_set_load(folder, &set, &err), 0);
	assert_memory_not_equal(hash, set.profiles[0].hash, sizeof(hash));
	profile_set_release(&set);
}

static void bad_profiles_are_refused_by_field(void **state)
{
	(void)state;
	static const struct {
		const char *text, *word;
	} cases[] = {
		{ "", "one" },
		{ "[]", "not an object" },
		{ "{\"binds\":[\"/usr\"],\"tmpfs\":[],\"seccomp\":\"list\"}", "limits" },
		{ "{\"binds\":[\"usr\"],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"list\"}", "binds" },
		{ "{\"binds\":[\"/usr/../root\"],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"list\"}", "binds" },
		{ "{\"binds\":[\"/usr\\\"\"],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"list\"}", "binds" },
		{ "{\"binds\":{},\"tmpfs\":[]," LIMITS ",\"seccomp\":\"list\"}", "binds" },
		{ "{\"binds\":[],\"tmpfs\":[{\"path\":\"/work\"}]," LIMITS ",\"seccomp\":\"list\"}", "size_kb" },
		{ "{\"binds\":[],\"tmpfs\":[{\"path\":\"/work\",\"size_kb\":1.5}]," LIMITS ",\"seccomp\":\"list\"}",
		  "size_kb" },
		{ "{\"binds\":[],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"../list\"}", "seccomp" },
		{ "{\"binds\":[],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"none\"}", "none" },
		{ "{\"binds\":[],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"list\",\"network\":true}", "network" },
		{ "{\"binds\":[],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"list\",\"proc\":\"none\"}", "proc" },
		{ "{\"binds\":[],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"list\",\"open_files\":3}", "open_files" },
		{ "{\"binds\":[],\"tmpfs\":[],\"limits\":{\"memory_mb\":{\"default\":30,\"most\":20}},\"seccomp\":"
		  "\"list\"}",
		  "memory_mb" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		struct profile_set set;
		struct wl_error err = { 0 };
		put("sandbox/one.json", cases[i].text);
		assert_true(profile_set_load(folder, &set, &err) < 0);
		if (!strstr(err.text, cases[i].word))
			fail_msg("case %zu: '%s' does not name %s", i, err.text, cases[i].word);
	}
}

#define WITH(more) "{\"binds\":[\"/usr\"],\"tmpfs\":[]," LIMITS ",\"seccomp\":\"list\"," more "}"
#define OWN "\"environment\":{\"name\":\"own\",\"path\":\"/opt/own\",\"made_by\":\"make own\"}"

static void listeners_are_those_that_the_profile_names(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint16_t ports[WARDEN_LISTEN_MAX];
		int count;
	} cases[] = {
		{ GOOD, { 0, 0 }, 0 },
		{ GOOD, { 8089, 0 }, 1 },
		{ GOOD, { 8090, 0 }, -EINVAL },
		{ GOOD, { 0, 8090 }, 0 },
		{ WITH("\"listen\":[]"), { 8089, 0 }, -EINVAL },
		{ WITH("\"listen\":[5000,5001]"), { 5001, 5000 }, 2 },
		{ WITH("\"listen\":[5000,5001]"), { 5001, 5001 }, -EINVAL },
	};
	static const char *const refused[] = {
		WITH("\"listen\":8089"),       WITH("\"listen\":[80]"),
		WITH("\"listen\":[65536]"),    WITH("\"listen\":[5000.5]"),
		WITH("\"listen\":[\"5000\"]"), WITH("\"listen\":[2001,2002,2003,2004,2005,2006,2007,2008,2009]")
	};
	struct profile_set set;
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		struct wl_error err = { 0 };
		put("sandbox/one.json", cases[i].text);
		assert_int_equal(profile_set_load(folder, &set, &err), 0);
		assert_int_equal(profile_listen(&set.profiles[0], cases[i].ports, &err), cases[i].count);
		profile_set_release(&set);
	}
	for (size_t i = 0; i < WL_COUNT_OF(refused); i++) {
		struct wl_error err = { 0 };
		put("sandbox/one.json", refused[i]);
		assert_int_equal(profile_set_load(folder, &set, &err), -EINVAL);
		assert_non_null(strstr(err.text, "listen"));
	}
}

static void an_environment_is_found_when_it_is_whole(void **state)
{
	(void)state;
	struct profile_set set;
	struct wl_error err = { 0 };
	char path[128];
	uint8_t hash[32];
	put("sandbox/one.json", WITH(OWN));
	assert_int_equal(profile_set_load(folder, &set, &err), 0);
	struct sandbox_profile *profile = &set.profiles[0];
	memcpy(hash, profile->hash, sizeof(hash));
	assert_int_equal(environment_find(folder, profile, &err), 0);
	assert_int_equal(environment_check(profile, &err), -ENOENT);
	assert_non_null(strstr(err.text, "make own"));
	(void)snprintf(path, sizeof(path), "%s/own", folder);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(environment_find(folder, profile, &err), 0);
	assert_int_equal(environment_check(profile, &err), -ENOENT);
	assert_memory_equal(hash, profile->hash, sizeof(hash));
	put("own/made-from", "one");
	assert_int_equal(environment_find(folder, profile, &err), 0);
	assert_int_equal(environment_check(profile, &err), 0);
	assert_string_equal(profile->environment.folder, path);
	assert_memory_not_equal(hash, profile->hash, sizeof(hash));
	profile_set_release(&set);
}

static void bad_environments_are_refused_by_field(void **state)
{
	(void)state;
	static const struct {
		const char *text, *word;
	} cases[] = {
		{ WITH("\"environment\":[]"), "environment" },
		{ WITH("\"environment\":{\"name\":\"../own\",\"path\":\"/opt\",\"made_by\":\"x\"}"),
		  "environment.name" },
		{ WITH("\"environment\":{\"name\":\"own\",\"path\":\"opt\",\"made_by\":\"x\"}"), "environment.path" },
		{ WITH("\"environment\":{\"name\":\"own\",\"path\":\"/o/..\",\"made_by\":\"x\"}"), "environment.path" },
		{ WITH("\"environment\":{\"name\":\"own\",\"path\":\"/opt\"}"), "environment.made_by" },
		{ WITH("\"environment\":{\"name\":\"own\",\"path\":\"/opt\",\"made_by\":\"x\",\"from\":\"/\"}"),
		  "from" },
		{ WITH("\"variables\":[]"), "variables" },
		{ WITH("\"variables\":{\"a\":\"\"}"), "'a'" },
		{ WITH("\"variables\":{\"1A\":\"\"}"), "'1A'" },
		{ WITH("\"variables\":{\"\":\"\"}"), "variables" },
		{ WITH("\"variables\":{\"A\":null}"), "variables.A" },
	};
	for (size_t i = 0; i < WL_COUNT_OF(cases); i++) {
		struct profile_set set;
		struct wl_error err = { 0 };
		put("sandbox/one.json", cases[i].text);
		assert_true(profile_set_load(folder, &set, &err) < 0);
		if (!strstr(err.text, cases[i].word))
			fail_msg("case %zu: '%s' does not name %s", i, err.text, cases[i].word);
	}
}

static void variables_reach_the_configuration_as_they_are(void **state)
{
	(void)state;
	struct profile_set set;
	struct wl_error err = { 0 };
	_wl_buffer_ struct wl_buffer text;
	_wl_json_ struct wl_json *config = NULL;
	put("sandbox/one.json", WITH("\"variables\":{\"A\":\"x\\\"y=z\",\"B_2\":\"\"}"));
	assert_int_equal(profile_set_load(folder, &set, &err), 0);
	struct oci_place place = { .rootfs = "/r", .cgroups_path = "/c", .args0 = "/i", .tenant = 1 };
	wl_buffer_init(&text, 1 << 20);
	assert_int_equal(oci_config_write(&set.profiles[0], &place, &text), 0);
	profile_set_release(&set);
	assert_int_equal(wl_json_parse(text.data, text.length, &config, &err), 0);
	const struct wl_json *env = wl_json_get(wl_json_get(config, "process"), "env");
	assert_string_equal(wl_json_string(wl_json_at(env, 2), ""), "A=x\"y=z");
	assert_string_equal(wl_json_string(wl_json_at(env, 3), ""), "B_2=");
	assert_null(wl_json_at(env, 4));
}

static void an_empty_folder_is_no_policy(void **state)
{
	(void)state;
	struct profile_set set;
	struct wl_error err = { 0 };
	assert_int_equal(profile_set_load(folder, &set, &err), -ENOENT);
	assert_int_equal(profile_set_load("/nonexistent", &set, &err), -ENOENT);
	assert_non_null(strstr(err.text, "policies_dir"));
}

static void limits_are_filled_in_and_bounded(void **state)
{
	(void)state;
	struct sandbox_profile profile = { .standard = { 256, 1000, 64, 60000, 1024 },
					   .most = { 512, 2000, 128, 120000, 2048 } };
	struct warden_limits limits;
	struct wl_error err = { 0 };
	const struct warden_limits none = { 0 };
	assert_int_equal(profile_limits(&profile, &none, &limits, &err), 0);
	assert_memory_equal(&limits, &profile.standard, sizeof(limits));
	assert_int_equal(profile_limits(&profile, &profile.most, &limits, &err), 0);
	assert_memory_equal(&limits, &profile.most, sizeof(limits));
	const struct warden_limits wrong[] = { { .memory_mb = 513 },  { .memory_mb = 7 },    { .cpu_milli = 2001 },
					       { .cpu_milli = 9 },    { .pids = 129 },	     { .pids = 1 },
					       { .wall_ms = 120001 }, { .output_kb = 2049 }, { .pids = UINT32_MAX } };
	for (size_t i = 0; i < WL_COUNT_OF(wrong); i++)
		assert_int_equal(profile_limits(&profile, &wrong[i], &limits, &err), -EINVAL);
}

static int compile(const char *text, struct wl_buffer *program, int *unknown, struct wl_error *err)
{
	_wl_json_ struct wl_json *list = NULL;
	assert_int_equal(wl_json_parse(text, strlen(text), &list, err), 0);
	return seccomp_filter_compile(list, program, unknown, err);
}

static void lists_are_compiled(void **state)
{
	(void)state;
	_wl_buffer_ struct wl_buffer program;
	struct wl_error err = { 0 };
	int unknown = -1;
	wl_buffer_init(&program, 65536);
	assert_int_equal(compile(LIST, &program, &unknown, &err), 0);
	assert_int_equal(unknown, 0);
	assert_true(program.length > 0 && program.length % sizeof(struct sock_filter) == 0);
	wl_buffer_clear(&program);
	assert_int_equal(
		compile("{\"default_errno\":\"EPERM\",\"allow\":[{\"why\":\"\",\"calls\":[\"read\",\"raed\"]}]}",
			&program, &unknown, &err),
		0);
	assert_int_equal(unknown, 1); /* a call that nobody knows stays forbidden */
}

static void bad_lists_are_refused(void **state)
{
	(void)state;
	static const char *const lists[] = {
		"{}",
		"{\"default_errno\":\"EBUSY\",\"allow\":[]}",
		"{\"default_errno\":\"EPERM\",\"conditions\":[{\"call\":\"clone\",\"argument\":6,\"equals\":0}]}",
		"{\"default_errno\":\"EPERM\",\"conditions\":[{\"call\":\"clone\",\"argument\":0}]}",
		"{\"default_errno\":\"EPERM\",\"conditions\":[{\"call\":\"clone\",\"argument\":0,\"equals\":4294967296}"
		"]}",
		"{\"default_errno\":\"EPERM\",\"errno\":[{\"call\":\"clone3\",\"errno\":\"ok\"}]}",
		"{\"default_errno\":\"EPERM\",\"errno\":[{\"call\":\"clone3\",\"errno\":\"EPERM\"}]}",
	};
	for (size_t i = 0; i < WL_COUNT_OF(lists); i++) {
		_wl_buffer_ struct wl_buffer program;
		struct wl_error err = { 0 };
		int unknown;
		wl_buffer_init(&program, 65536);
		assert_true(compile(lists[i], &program, &unknown, &err) < 0);
		assert_true(err.text[0] != '\0');
	}
}

static void the_configuration_is_json_with_the_tenants_ids(void **state)
{
	(void)state;
	struct profile_set set;
	struct wl_error err = { 0 };
	_wl_buffer_ struct wl_buffer text;
	_wl_json_ struct wl_json *config = NULL;
	put("sandbox/one.json", GOOD);
	assert_int_equal(profile_set_load(folder, &set, &err), 0);
	struct oci_place place = { .rootfs = "/a\"b",
				   .runtime_dir = "/r",
				   .cgroups_path = "/windlass/i/s1",
				   .args0 = "/windlass-init",
				   .tenant = 3 };
	wl_buffer_init(&text, 1 << 20);
	assert_int_equal(oci_config_write(&set.profiles[0], &place, &text), 0);
	profile_set_release(&set);
	assert_int_equal(wl_json_parse(text.data, text.length, &config, &err), 0);
	const struct wl_json *system = wl_json_get(config, "linux");
	const struct wl_json *map = wl_json_at(wl_json_get(system, "uidMappings"), 0);
	assert_int_equal((int)wl_json_get_number(map, "hostID", 0), 1000000 + 3 * 65536);
	assert_int_equal((int)wl_json_get_number(map, "size", 0), 65536);
	assert_int_equal((int)wl_json_count(wl_json_get(system, "namespaces")), 7);
	assert_string_equal(wl_json_get_string(wl_json_get(config, "root"), "path", ""), "/a\"b");
	const struct wl_json *process = wl_json_get(config, "process");
	assert_true(wl_json_get_bool(process, "noNewPrivileges", false));
	const struct wl_json *sets = wl_json_get(process, "capabilities");
	assert_int_equal((int)wl_json_count(sets), 5);
	for (const struct wl_json *one = wl_json_first(sets); one; one = wl_json_next(one))
		assert_int_equal((int)wl_json_count(one), 0);
	assert_int_equal((int)wl_json_count(wl_json_get(config, "annotations")), 1);
	/* proc, dev, the bind, the runtime folder, the tmpfs */
	assert_int_equal((int)wl_json_count(wl_json_get(config, "mounts")), 5);
}

int main(void)
{
#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, new_folder, drop_folder)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_projects_own_policies_load),
		FOLDER_TEST(a_profile_is_read_and_hashed),
		FOLDER_TEST(bad_profiles_are_refused_by_field),
		FOLDER_TEST(listeners_are_those_that_the_profile_names),
		FOLDER_TEST(an_environment_is_found_when_it_is_whole),
		FOLDER_TEST(bad_environments_are_refused_by_field),
		FOLDER_TEST(variables_reach_the_configuration_as_they_are),
		FOLDER_TEST(an_empty_folder_is_no_policy),
		cmocka_unit_test(limits_are_filled_in_and_bounded),
		cmocka_unit_test(lists_are_compiled),
		cmocka_unit_test(bad_lists_are_refused),
		FOLDER_TEST(the_configuration_is_json_with_the_tenants_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
