-- Plans and quotas: what a tenant may use, what it has used, and that the counters are right.
--
-- control.quota stays what the hot paths read: the limits that hold. They are worked out anew, in the transaction that
-- changes one of their parts, from
--   the tenant's plan (quotas/plans.json, brought here by control.plans_put),
--   overrides, an operator's, which stand before the plan's,
--   lowered, the tenant's own, which count only where they are lower.
SET LOCAL ROLE windlass_owner;

CREATE TABLE control.plan (
	name                   text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,49}$'),
	place                  int  NOT NULL,
	is_default             boolean NOT NULL,
	title                  text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
	max_flows              int  NOT NULL CHECK (max_flows >= 0),
	max_executions_per_day int  NOT NULL CHECK (max_executions_per_day >= 0),
	max_concurrent         int  NOT NULL CHECK (max_concurrent >= 0),
	max_queued             int  NOT NULL CHECK (max_queued >= 0),
	max_storage_gb         int  NOT NULL CHECK (max_storage_gb >= 0),
	max_llm_tokens_per_day int  NOT NULL CHECK (max_llm_tokens_per_day >= 0),
	weight                 int  NOT NULL CHECK (weight BETWEEN 1 AND 100),
	retention_days         int  NOT NULL CHECK (retention_days BETWEEN 1 AND 3650)
);

-- A tenant's row is made by a bare insert: the columns' defaults are those of the default plan (control.plans_put).
ALTER TABLE control.quota
	ADD COLUMN max_llm_tokens_per_day int NOT NULL DEFAULT 1000000,
	ADD COLUMN retention_days int NOT NULL DEFAULT 30 CHECK (retention_days BETWEEN 1 AND 3650),
	ADD COLUMN plan      text  NOT NULL DEFAULT 'free',
	ADD COLUMN overrides jsonb NOT NULL DEFAULT '{}',
	ADD COLUMN lowered   jsonb NOT NULL DEFAULT '{}';

-- Limits that somebody set by hand before there were plans stand as overrides.
UPDATE control.quota q SET overrides = (SELECT coalesce(jsonb_object_agg(l.key, l.value), '{}')
	FROM jsonb_each(to_jsonb(q)) l JOIN jsonb_each('{"max_flows": 100, "max_executions_per_day": 1000,
		"max_storage_gb": 10, "max_concurrent": 100, "max_queued": 10000, "weight": 1}') d ON d.key = l.key
	WHERE l.value <> d.value);

ALTER TABLE control.tenant_day
	ADD COLUMN tokens_reserved bigint NOT NULL DEFAULT 0 CHECK (tokens_reserved >= 0),
	ADD COLUMN tokens_used     bigint NOT NULL DEFAULT 0 CHECK (tokens_used >= 0);

-- Tokens that calls of models may use up and have not told of yet.
CREATE TABLE control.token_reservation (
	id         uuid PRIMARY KEY,
	tenant     int  NOT NULL,
	day        date NOT NULL,
	tokens     bigint NOT NULL CHECK (tokens >= 0),
	expires_at timestamptz NOT NULL
);
CREATE INDEX token_reservation_tenant ON control.token_reservation (tenant, day);

-- ---- plans and effective limits ------------------------------------------------------------------------------

-- Limits that people see by name, in their order; an operator may also set weight and retention_days.
CREATE FUNCTION control.quota_names() RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT ARRAY['max_flows', 'max_executions_per_day', 'max_concurrent', 'max_queued', 'max_storage_gb',
	             'max_llm_tokens_per_day']
$$;

-- What the plan, or an operator, gives: by name.
CREATE FUNCTION control.quota_given(p_row control.quota) RETURNS jsonb
LANGUAGE sql STABLE AS $$
	SELECT coalesce((SELECT to_jsonb(p) FROM control.plan p WHERE p.name = p_row.plan), to_jsonb(p_row)) || p_row.overrides
$$;

-- Work out the limits that hold for a tenant whose row the transaction has locked.
CREATE FUNCTION control.quota_recompute(p_tenant int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_row   control.quota;
	v_given jsonb;
	v_now   jsonb;
BEGIN
	SELECT * INTO v_row FROM control.quota WHERE tenant = p_tenant;
	v_given := control.quota_given(v_row);
	SELECT jsonb_object_agg(n, least((v_given->>n)::int, (v_row.lowered->>n)::int)) INTO v_now
	FROM unnest(control.quota_names() || ARRAY['weight', 'retention_days']) n;
	UPDATE control.quota SET max_flows = (v_now->>'max_flows')::int,
		max_executions_per_day = (v_now->>'max_executions_per_day')::int,
		max_concurrent = (v_now->>'max_concurrent')::int, max_queued = (v_now->>'max_queued')::int,
		max_storage_gb = (v_now->>'max_storage_gb')::int,
		max_llm_tokens_per_day = (v_now->>'max_llm_tokens_per_day')::int,
		weight = (v_now->>'weight')::int, retention_days = (v_now->>'retention_days')::int
	WHERE tenant = p_tenant;
END $$;

-- New tenants get these limits and this plan.
CREATE FUNCTION control.plan_make_default(p_plan control.plan) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_name text;
BEGIN
	FOREACH v_name IN ARRAY control.quota_names() || ARRAY['weight', 'retention_days'] LOOP
		EXECUTE format('ALTER TABLE control.quota ALTER COLUMN %I SET DEFAULT %s', v_name, to_jsonb(p_plan)->>v_name);
	END LOOP;
	EXECUTE format('ALTER TABLE control.quota ALTER COLUMN plan SET DEFAULT %L', p_plan.name);
END $$;

-- Take over the plans of quotas/plans.json, which was checked against its schema; how many were added, changed or
-- removed. Tenants of a changed plan get its limits here and now. A plan that a tenant has cannot be removed.
CREATE FUNCTION control.plans_put(p_plans json) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_new     control.plan;
	v_old     control.plan;
	v_changed int := 0;
	v_used    text;
	v_tenant  int;
BEGIN
	LOCK TABLE control.plan IN SHARE ROW EXCLUSIVE MODE;
	FOR v_new IN
		SELECT r.* FROM json_array_elements(p_plans->'plans') WITH ORDINALITY AS w(plan, place),
			jsonb_populate_record(NULL::control.plan, (w.plan::jsonb || (w.plan->'limits')::jsonb) - 'limits' ||
				jsonb_build_object('place', w.place, 'is_default', w.plan->>'name' = p_plans->>'default')) r
	LOOP
		SELECT * INTO v_old FROM control.plan WHERE name = v_new.name;
		CONTINUE WHEN v_old IS NOT DISTINCT FROM v_new;
		v_changed := v_changed + 1;
		DELETE FROM control.plan WHERE name = v_new.name;
		INSERT INTO control.plan SELECT v_new.*;
		IF v_new.is_default THEN
			PERFORM control.plan_make_default(v_new);
		END IF;
		FOR v_tenant IN SELECT tenant FROM control.quota WHERE plan = v_new.name ORDER BY tenant FOR UPDATE LOOP
			PERFORM control.quota_recompute(v_tenant);
		END LOOP;
	END LOOP;
	IF NOT EXISTS (SELECT FROM json_array_elements(p_plans->'plans') w WHERE w->>'name' = p_plans->>'default') THEN
		RAISE EXCEPTION 'the default plan "%" is not among the plans', p_plans->>'default';
	END IF;
	SELECT format('plan "%s" cannot be removed: %s tenants have it', q.plan, count(*)) INTO v_used FROM control.quota q
	WHERE q.plan NOT IN (SELECT w->>'name' FROM json_array_elements(p_plans->'plans') w) GROUP BY q.plan LIMIT 1;
	IF v_used IS NOT NULL THEN
		RAISE EXCEPTION '%', v_used;
	END IF;
	WITH gone AS (DELETE FROM control.plan WHERE name NOT IN (SELECT w->>'name' FROM json_array_elements(p_plans->'plans') w)
	              RETURNING 1)
	SELECT v_changed + count(*) INTO v_changed FROM gone;
	RETURN v_changed;
END $$;

-- Merge limits by name into what is set: null takes one back.
CREATE FUNCTION control.quota_merge(p_set jsonb, p_limits jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}') FROM jsonb_each(p_set || p_limits) m WHERE m.value <> 'null'
$$;

CREATE FUNCTION control.tenant_plan_set(p_tenant int, p_plan text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM control.plan WHERE name = p_plan FOR SHARE;
	IF NOT FOUND THEN
		PERFORM api.refuse('WL422', 'there is no such plan', 'plan', 'is no plan''s name');
	END IF;
	UPDATE control.quota SET plan = p_plan WHERE tenant = p_tenant;
	IF NOT FOUND THEN
		PERFORM api.missing('tenant');
	END IF;
	PERFORM control.quota_recompute(p_tenant);
END $$;

-- An operator's limits for a tenant, by name; a member "plan" sets its plan. The caller writes the audit log.
CREATE FUNCTION control.quota_set(p_tenant int, p_limits json) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_limits jsonb := p_limits::jsonb - 'plan';
	v_wrong  text;
BEGIN
	IF p_limits->>'plan' IS NOT NULL THEN
		PERFORM control.tenant_plan_set(p_tenant, p_limits->>'plan');
	END IF;
	SELECT key INTO v_wrong FROM jsonb_each(v_limits) l
	WHERE l.key <> ALL (control.quota_names() || ARRAY['weight', 'retention_days'])
	   OR l.value <> 'null' AND (jsonb_typeof(l.value) <> 'number' OR l.value::numeric <> trunc(l.value::numeric)
		OR l.value::numeric NOT BETWEEN CASE WHEN l.key IN ('weight', 'retention_days') THEN 1 ELSE 0 END
		AND CASE l.key WHEN 'weight' THEN 100 WHEN 'retention_days' THEN 3650 ELSE 1000000000 END) LIMIT 1;
	IF v_wrong IS NOT NULL THEN
		PERFORM api.refuse('WL422', 'a limit is none', 'quotas.' || v_wrong, 'is no limit''s name, or no number for it');
	END IF;
	UPDATE control.quota SET overrides = control.quota_merge(overrides, v_limits) WHERE tenant = p_tenant;
	IF NOT FOUND THEN
		PERFORM api.missing('tenant');
	END IF;
	PERFORM control.quota_recompute(p_tenant);
END $$;

-- ---- what is used ----------------------------------------------------------------------------------------------

CREATE FUNCTION control.day_end() RETURNS timestamptz
LANGUAGE sql STABLE AS $$
	SELECT (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC'
$$;

-- What a tenant uses of each limit. Flows, running and waiting executions are counted; the others have counters.
-- Storage is that of files, of runs' records and of what crews remember, in GiB.
CREATE FUNCTION control.quota_used(p_tenant int) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_flows   bigint := 0;
	v_day     control.tenant_day;
	v_running bigint;
	v_queued  bigint;
BEGIN
	IF to_regclass(format('t_%s.flows', p_tenant)) IS NOT NULL THEN
		EXECUTE format('SELECT count(*) FROM t_%s.flows WHERE deleted_at IS NULL', p_tenant) INTO v_flows;
	END IF;
	SELECT * INTO v_day FROM control.tenant_day
	WHERE tenant = p_tenant AND day = (now() AT TIME ZONE 'UTC')::date;
	SELECT count(*) FILTER (WHERE state = 'R'), count(*) FILTER (WHERE state = 'Q') INTO v_running, v_queued
	FROM control.dispatch WHERE shard = (p_tenant % 16)::smallint AND tenant = p_tenant;
	RETURN jsonb_build_object('max_flows', v_flows, 'max_executions_per_day', coalesce(v_day.executions, 0),
		'max_concurrent', v_running, 'max_queued', v_queued, 'max_storage_gb',
		round(coalesce((SELECT bytes FROM control.usage_storage WHERE tenant = p_tenant), 0) / 1073741824.0, 6),
		'max_llm_tokens_per_day', coalesce(v_day.tokens_reserved + v_day.tokens_used, 0));
END $$;

-- The limits of a tenant with their use, as the API lists them.
CREATE FUNCTION control.quota_list(p_tenant int) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row   control.quota;
	v_given jsonb;
	v_used  jsonb := control.quota_used(p_tenant);
BEGIN
	SELECT * INTO v_row FROM control.quota WHERE tenant = p_tenant;
	v_given := control.quota_given(v_row);
	RETURN (SELECT json_agg(json_build_object('name', n.name, 'limit', (to_jsonb(v_row)->>n.name)::int,
			'plan_limit', (v_given->>n.name)::int, 'used', v_used->n.name,
			'resets_at', CASE WHEN n.name LIKE '%_per_day' THEN api.time(control.day_end()) END) ORDER BY n.place)
		FROM unnest(control.quota_names()) WITH ORDINALITY AS n(name, place));
END $$;

CREATE FUNCTION control.tenant_plan_name(p_tenant int) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT plan FROM control.quota WHERE tenant = p_tenant $$;

CREATE FUNCTION control.operator_tenant_json(p_row control.tenant) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', p_row.id, 'slug', p_row.slug, 'name', p_row.name, 'state', p_row.state,
		'settings', p_row.settings, 'billing_info', p_row.billing_info, 'created_at', api.time(p_row.created_at),
		'purge_at', api.time(p_row.purge_at), 'plan', control.tenant_plan_name(p_row.id),
		'users', (SELECT count(*) FROM control.app_user u WHERE u.tenant = p_row.id))
$$;

-- A tenant as operators see it, with its limits and their use.
CREATE FUNCTION control.operator_tenant_answer(p_id int, p_status int) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row control.tenant;
BEGIN
	SELECT * INTO v_row FROM control.tenant WHERE id = p_id;
	IF NOT FOUND THEN
		PERFORM api.missing('tenant');
	END IF;
	RETURN ROW(p_status, json_build_object('tenant', (control.operator_tenant_json(v_row)::jsonb ||
		jsonb_build_object('quotas', control.quota_list(p_id)))::json), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION control.plans_json() RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT json_build_object('plans', coalesce(json_agg(json_build_object('name', p.name, 'title', p.title,
		'limits', (SELECT json_object_agg(n, to_jsonb(p)->n) FROM unnest(control.quota_names()) n),
		'weight', p.weight, 'retention_days', p.retention_days) ORDER BY p.place), '[]')) FROM control.plan p
$$;

-- ---- tokens of language models ---------------------------------------------------------------------------------
-- A call reserves what it may use at most before it begins and settles what it did use: exact under parallel calls,
-- because the day's row is held until commit. Both are safe to repeat with the same id.

-- granted false: used (reservations included) and quota say why.
CREATE FUNCTION control.tokens_reserve(p_tenant int, p_id uuid, p_tokens bigint, p_ttl_s int)
RETURNS TABLE (granted boolean, quota bigint, used bigint, resets_s int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_day date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
	IF p_tokens < 0 OR p_ttl_s < 1 THEN
		RAISE EXCEPTION 'a reservation of % tokens for % s is none', p_tokens, p_ttl_s;
	END IF;
	SELECT q.max_llm_tokens_per_day INTO quota FROM control.quota q WHERE q.tenant = p_tenant;
	resets_s := ceil(extract(epoch FROM control.day_end() - now()));
	INSERT INTO control.tenant_day (tenant, day) VALUES (p_tenant, v_day) ON CONFLICT DO NOTHING;
	SELECT d.tokens_reserved + d.tokens_used INTO used FROM control.tenant_day d
	WHERE d.tenant = p_tenant AND d.day = v_day FOR UPDATE;
	granted := EXISTS (SELECT FROM control.token_reservation r WHERE r.id = p_id AND r.tenant = p_tenant);
	IF NOT granted AND used + p_tokens <= quota THEN
		INSERT INTO control.token_reservation (id, tenant, day, tokens, expires_at)
		VALUES (p_id, p_tenant, v_day, p_tokens, now() + make_interval(secs => p_ttl_s));
		UPDATE control.tenant_day d SET tokens_reserved = d.tokens_reserved + p_tokens
		WHERE d.tenant = p_tenant AND d.day = v_day;
		granted := true;
		used := used + p_tokens;
	END IF;
	RETURN NEXT;
END $$;

-- False when there is no such reservation (any more).
CREATE FUNCTION control.tokens_settle(p_tenant int, p_id uuid, p_used bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_row control.token_reservation;
BEGIN
	SELECT * INTO v_row FROM control.token_reservation WHERE id = p_id AND tenant = p_tenant;
	PERFORM FROM control.tenant_day WHERE tenant = p_tenant AND day = v_row.day FOR UPDATE; -- the day before its rows
	DELETE FROM control.token_reservation WHERE id = p_id AND tenant = p_tenant;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	UPDATE control.tenant_day SET tokens_reserved = tokens_reserved - v_row.tokens,
	       tokens_used = tokens_used + greatest(p_used, 0)
	WHERE tenant = p_tenant AND day = v_row.day;
	RETURN true;
END $$;

-- ---- counting again --------------------------------------------------------------------------------------------

-- What the counter of the day must be at least and at most. An accept counts on the day on which its transaction began,
-- its row bears the moment of the insert: rows of the day's first minute may belong to the day before.
CREATE FUNCTION control.executions_of_day(p_tenant int, p_day date, OUT least_many int, OUT most_many int)
LANGUAGE plpgsql STABLE AS $$
BEGIN
	EXECUTE format('SELECT count(*) FILTER (WHERE created_at >= $1 + interval ''1 minute''), count(*)
	                FROM t_%s.executions WHERE created_at >= $1 AND created_at < $1 + interval ''1 day''', p_tenant)
	INTO least_many, most_many USING p_day::timestamp AT TIME ZONE 'UTC';
END $$;

-- Count the executions of today and what is reserved of its tokens; repair what is wrong. Rows of {counter, was, is}.
CREATE FUNCTION control.recount_day(p_tenant int) RETURNS json[]
LANGUAGE plpgsql AS $$
DECLARE
	v_today  date := (now() AT TIME ZONE 'UTC')::date;
	v_day    control.tenant_day;
	v_count  record;
	v_right  int;
	v_tokens bigint;
	v_drift  json[] := '{}';
BEGIN
	-- held: no accept and no reservation is under way now, and the statements below see all that were
	SELECT * INTO v_day FROM control.tenant_day WHERE tenant = p_tenant AND day = v_today FOR UPDATE;
	IF NOT FOUND THEN
		RETURN v_drift;
	END IF;
	SELECT * INTO v_count FROM control.executions_of_day(p_tenant, v_today);
	v_right := least(greatest(v_day.executions, v_count.least_many), v_count.most_many);
	IF v_right <> v_day.executions THEN
		UPDATE control.tenant_day SET executions = v_right WHERE tenant = p_tenant AND day = v_today;
		v_drift := v_drift || json_build_object('counter', 'executions', 'was', v_day.executions, 'is', v_right);
	END IF;
	-- a call that never told what it used has used all that it might
	WITH gone AS (DELETE FROM control.token_reservation WHERE tenant = p_tenant AND expires_at < now()
	              RETURNING day, tokens),
	     days AS (SELECT day, sum(tokens) AS tokens FROM gone GROUP BY day)
	UPDATE control.tenant_day d SET tokens_reserved = d.tokens_reserved - days.tokens,
	       tokens_used = d.tokens_used + days.tokens
	FROM days WHERE d.tenant = p_tenant AND d.day = days.day;
	SELECT d.tokens_reserved INTO v_day.tokens_reserved FROM control.tenant_day d
	WHERE d.tenant = p_tenant AND d.day = v_today;
	SELECT coalesce(sum(tokens), 0) INTO v_tokens FROM control.token_reservation WHERE tenant = p_tenant AND day = v_today;
	IF v_tokens <> v_day.tokens_reserved THEN
		UPDATE control.tenant_day SET tokens_reserved = v_tokens WHERE tenant = p_tenant AND day = v_today;
		v_drift := v_drift || json_build_object('counter', 'tokens_reserved', 'was', v_day.tokens_reserved, 'is', v_tokens);
	END IF;
	RETURN v_drift;
END $$;

CREATE FUNCTION control.recount_storage(p_tenant int) RETURNS json[]
LANGUAGE plpgsql AS $$
DECLARE
	v_was bigint;
	v_is  bigint;
BEGIN
	SELECT bytes INTO v_was FROM control.usage_storage WHERE tenant = p_tenant FOR UPDATE;
	IF NOT FOUND THEN
		RETURN '{}';
	END IF;
	EXECUTE format('SELECT coalesce(sum(size), 0) FROM t_%s.artifacts', p_tenant) INTO v_is;
	v_is := v_is + (SELECT coalesce(sum(k.bytes), 0) FROM control.kept k WHERE k.tenant = p_tenant);
	IF v_is = v_was THEN
		RETURN '{}';
	END IF;
	UPDATE control.usage_storage SET bytes = v_is WHERE tenant = p_tenant;
	RETURN ARRAY[json_build_object('counter', 'storage', 'was', v_was, 'is', v_is)];
END $$;

-- The counters of the first tenant after {"after"}: {"tenant","drift":[{"counter","was","is"}]}, with "fault" when it
-- cannot be counted now; NULL behind the last one. One tenant a transaction, so that nobody's accepts wait for another's
-- count.
CREATE FUNCTION control.counters_recount(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
	v_tenant int;
	v_drift  json[] := '{}';
BEGIN
	SELECT min(id) INTO v_tenant FROM control.tenant
	WHERE id > (p_request->>'after')::int AND to_regclass(format('t_%s.executions', id)) IS NOT NULL;
	IF v_tenant IS NULL THEN
		RETURN NULL;
	END IF;
	v_drift := control.recount_models(v_tenant) || control.recount_day(v_tenant) || control.recount_storage(v_tenant);
	RETURN json_build_object('tenant', v_tenant, 'drift', to_json(v_drift));
EXCEPTION WHEN OTHERS THEN
	RETURN json_build_object('tenant', v_tenant, 'drift', '[]'::json, 'fault', SQLERRM);
END $$;

-- ---- retention ---------------------------------------------------------------------------------------------------

-- Ended executions of one tenant that are older than its plan keeps them, {"limit"} at most: {"tenant","eids","more"},
-- NULL behind the last tenant. Those of the first tenant after {"after"} that has any; a tenant that cannot be looked at
-- (its tables are damaged or locked) is passed over.
CREATE FUNCTION control.retention_take(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
	v_limit int := (p_request->>'limit')::int;
	v_quota record;
	v_eids  uuid[];
BEGIN
	FOR v_quota IN SELECT q.tenant, now() - q.retention_days * interval '1 day' AS before FROM control.quota q
	               WHERE q.tenant > (p_request->>'after')::int ORDER BY q.tenant LOOP
		CONTINUE WHEN to_regclass(format('t_%s.executions', v_quota.tenant)) IS NULL;
		BEGIN
			EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM t_%s.executions
			                WHERE created_at < $1 AND end_time < $1 ORDER BY created_at, id LIMIT $2) o', v_quota.tenant)
			INTO v_eids USING v_quota.before, v_limit;
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING 'the executions of tenant % cannot be looked through: %', v_quota.tenant, SQLERRM;
			v_eids := NULL;
		END;
		IF v_eids IS NOT NULL THEN
			RETURN json_build_object('tenant', v_quota.tenant, 'eids', to_json(v_eids), 'more', cardinality(v_eids) = v_limit);
		END IF;
	END LOOP;
	RETURN NULL;
END $$;

-- Drop these executions {"tenant","eids"} with all that hangs on them in PostgreSQL; their node results are gone by
-- then. {"executions","artifacts"}: how many.
CREATE FUNCTION control.retention_drop(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
	v_tenant    int := (p_request->>'tenant')::int;
	v_eids      uuid[] := ARRAY(SELECT e::uuid FROM json_array_elements_text(p_request->'eids') e ORDER BY 1);
	v_eid       uuid;
	v_artifacts int := 0;
	v_dropped   int;
BEGIN
	FOREACH v_eid IN ARRAY v_eids LOOP
		v_artifacts := v_artifacts + control.artifacts_drop_execution(v_tenant, v_eid);
	END LOOP;
	DELETE FROM control.approval WHERE tenant = v_tenant AND eid = ANY (v_eids);
	PERFORM control.models_drop_executions(v_tenant, v_eids);
	EXECUTE format('WITH gone AS (DELETE FROM t_%s.executions WHERE id = ANY ($1) AND end_time IS NOT NULL RETURNING 1)
	                SELECT count(*) FROM gone', v_tenant) INTO v_dropped USING v_eids;
	RETURN json_build_object('executions', v_dropped, 'artifacts', v_artifacts);
END $$;

-- Flows of a tenant that were deleted longer ago than its plan keeps things, {"limit"} at most: with their versions, when no
-- execution and no export is left that tells of them. How many.
CREATE FUNCTION control.flows_drop(p_tenant int, p_limit int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_before timestamptz := (SELECT now() - q.retention_days * interval '1 day' FROM control.quota q WHERE q.tenant = p_tenant);
	v_ids    uuid[];
BEGIN
	EXECUTE format('SELECT array_agg(g.id) FROM (SELECT f.id FROM t_%1$s.flows f WHERE f.deleted_at < $1
		AND NOT EXISTS (SELECT FROM t_%1$s.executions e WHERE e.flow_id = f.id)
		AND NOT EXISTS (SELECT FROM t_%1$s.exports x WHERE f.id = ANY (x.flow_ids))
		ORDER BY f.deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED) g', p_tenant)
	INTO v_ids USING v_before, p_limit;
	EXECUTE format('DELETE FROM t_%s.flow_versions WHERE flow_id = ANY ($1)', p_tenant) USING v_ids;
	EXECUTE format('DELETE FROM t_%s.flows WHERE id = ANY ($1)', p_tenant) USING v_ids;
	RETURN coalesce(cardinality(v_ids), 0);
END $$;

-- Documents that no flow, version, run, subflow under way or chat names: noted first, and dropped when that is still so a
-- day later. What names one by then without being committed yet holds it (api.flow_put_document). How many were dropped.
CREATE FUNCTION control.flow_docs_drop(p_tenant int, p_limit int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_dropped int;
BEGIN
	EXECUTE format($sql$
		WITH unused AS MATERIALIZED (SELECT d.hash FROM t_%1$s.flow_docs d
			WHERE NOT EXISTS (SELECT FROM t_%1$s.flows f WHERE f.draft_hash = d.hash)
			  AND NOT EXISTS (SELECT FROM t_%1$s.flow_versions v WHERE v.doc_hash = d.hash)
			  AND NOT EXISTS (SELECT FROM t_%1$s.executions e WHERE e.doc_hash = d.hash)
			  AND NOT EXISTS (SELECT FROM control.subflow_pin p WHERE p.doc_hash = d.hash)
			  AND NOT EXISTS (SELECT FROM control.chat_session s WHERE s.doc_hash = d.hash)),
		noted AS (UPDATE t_%1$s.flow_docs d SET unused_since = now() FROM unused u
		          WHERE u.hash = d.hash AND d.unused_since IS NULL),
		used AS (UPDATE t_%1$s.flow_docs d SET unused_since = NULL
		         WHERE d.unused_since IS NOT NULL AND d.hash NOT IN (SELECT hash FROM unused)),
		dropped AS (DELETE FROM t_%1$s.flow_docs d WHERE d.unused_since < now() - interval '1 day'
		            AND d.hash IN (SELECT hash FROM unused LIMIT $1) RETURNING 1)
		SELECT count(*) FROM dropped $sql$, p_tenant) INTO v_dropped USING p_limit;
	RETURN v_dropped;
END $$;

-- Drop both of the first tenant after {"after"}, {"limit"} of each at most: {"tenant","flows","documents"}, with "fault"
-- when it cannot be done now; NULL behind the last one.
CREATE FUNCTION control.flows_tidy(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
	v_limit  int := (p_request->>'limit')::int;
	v_tenant int := (SELECT min(t.id) FROM control.tenant t WHERE t.id > (p_request->>'after')::int
	                 AND to_regclass(format('t_%s.executions', t.id)) IS NOT NULL);
BEGIN
	IF v_tenant IS NULL THEN
		RETURN NULL;
	END IF;
	RETURN json_build_object('tenant', v_tenant, 'flows', control.flows_drop(v_tenant, v_limit),
	                         'documents', control.flow_docs_drop(v_tenant, v_limit));
EXCEPTION WHEN OTHERS THEN
	RETURN json_build_object('tenant', v_tenant, 'flows', 0, 'documents', 0, 'fault', SQLERRM);
END $$;

-- ---- operations ----------------------------------------------------------------------------------------------------

CREATE FUNCTION control.my_quotas() RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT json_build_object('plan', control.tenant_plan_name(control.tenant_of_role()),
	                         'quotas', control.quota_list(control.tenant_of_role()))
$$;

-- The tenant's own limits, which may only be lower than what is given; what it changed, for the audit log.
CREATE FUNCTION control.my_quota_lower(p_limits json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := control.tenant_of_role();
	v_row    control.quota;
	v_faults json;
BEGIN
	SELECT * INTO v_row FROM control.quota WHERE tenant = v_tenant FOR UPDATE;
	SELECT json_agg(json_build_object('path', 'quotas.' || l.key, 'message',
		format('is above the %s of your plan', g.value))) INTO v_faults
	FROM jsonb_each(p_limits::jsonb) l JOIN jsonb_each(control.quota_given(v_row)) g ON g.key = l.key
	WHERE l.value <> 'null' AND l.value::numeric > g.value::numeric;
	IF v_faults IS NOT NULL THEN
		RAISE EXCEPTION 'a limit of your own is lower than the plan''s' USING ERRCODE = 'WL422',
			DETAIL = json_build_object('errors', v_faults);
	END IF;
	UPDATE control.quota SET lowered = control.quota_merge(lowered, p_limits::jsonb) WHERE tenant = v_tenant;
	PERFORM control.quota_recompute(v_tenant);
END $$;

-- The last days of use, today first; days without any are 0.
CREATE FUNCTION control.my_usage(p_days int) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT json_agg(json_build_object('day', s.day, 'executions', coalesce(d.executions, 0),
	                                  'llm_tokens', coalesce(d.tokens_used, 0)) ORDER BY s.day DESC)
	FROM (SELECT (now() AT TIME ZONE 'UTC')::date - n AS day FROM generate_series(0, p_days - 1) n) s
	LEFT JOIN control.tenant_day d ON d.tenant = control.tenant_of_role() AND d.day = s.day
$$;

-- Bytes that are stored now, by what they are.
CREATE FUNCTION control.my_storage() RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := control.tenant_of_role();
	v_kept   json;
BEGIN
	SELECT json_build_object('total', coalesce((SELECT s.bytes FROM control.usage_storage s WHERE s.tenant = v_tenant), 0),
		'records', coalesce(sum(k.bytes) FILTER (WHERE k.kind = 'run'), 0),
		'memory', coalesce(sum(k.bytes) FILTER (WHERE k.kind = 'memory'), 0)) INTO v_kept
	FROM control.kept k WHERE k.tenant = v_tenant;
	RETURN v_kept;
END $$;

CREATE FUNCTION api.quotas_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT ROW(200, control.my_quotas(), NULL, NULL, NULL)::api.answer $$;

CREATE FUNCTION api.quotas_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_limits json := p_request->'body'->'quotas';
BEGIN
	PERFORM control.my_quota_lower(v_limits);
	PERFORM control.audit(p_actor, 'quota.update', 'tenant', p_actor->>'tenant', v_limits);
	RETURN ROW(200, control.my_quotas(), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.usage_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$
	SELECT ROW(200, json_build_object('days', control.my_usage((p_request#>>'{params,days}')::int), 'storage',
		control.my_storage()), NULL, NULL, NULL)::api.answer
$$;

CREATE FUNCTION api.plans_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT ROW(200, control.plans_json(), NULL, NULL, NULL)::api.answer $$;

CREATE FUNCTION api_operator.operator_plans_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT ROW(200, control.plans_json(), NULL, NULL, NULL)::api.answer
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.my_quotas(), control.my_quota_lower(json), control.my_usage(int), control.my_storage(), control.plans_json()
	TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.tokens_reserve(int, uuid, bigint, int), control.tokens_settle(int, uuid, bigint),
	control.counters_recount(json), control.retention_take(json), control.retention_drop(json), control.flows_tidy(json)
	TO windlass_engine;
