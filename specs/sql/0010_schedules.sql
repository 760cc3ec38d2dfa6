-- Schedules: runs that a clock starts.
--
-- When a schedule is due, a scheduler asks for it (schedules_due), works out by the cron expression which fires have
-- come due and which is next, and says so (schedules_fire). That is one transaction: the row of the fire, the accepted
-- execution and the schedule's new next_at; and it happens only if next_at and rev are still what the scheduler saw. So
-- any number of schedulers may do this, each may die between any two steps, and every fire happens once.
SET LOCAL ROLE windlass_owner;

CREATE TABLE control.schedule (
	id         uuid PRIMARY KEY,
	tenant     int  NOT NULL,
	flow_id    uuid NOT NULL,
	name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
	cron       text NOT NULL,
	timezone   text NOT NULL,
	inputs     json NOT NULL,
	labels     jsonb NOT NULL,
	version    int,
	misfire    text NOT NULL CHECK (misfire IN ('skip', 'latest', 'all')),
	overlap    text NOT NULL CHECK (overlap IN ('allow', 'forbid', 'replace')),
	enabled    boolean NOT NULL,
	timeout_s  int  NOT NULL CHECK (timeout_s BETWEEN 1 AND 604800),
	created_by uuid NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	rev        int NOT NULL DEFAULT 1,
	next_at    timestamptz,                        -- the first fire that has not happened; NULL: none will
	upcoming   timestamptz[] NOT NULL DEFAULT '{}', -- that one and a few behind it, to be shown
	last_fire  timestamptz,
	refusal    text,                               -- why fires are refused since the last one that was not
	fires      bigint NOT NULL DEFAULT 0           -- how many of its fires were recorded
) WITH (fillfactor = 80);
CREATE INDEX schedule_due ON control.schedule (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedule_tenant ON control.schedule (tenant, created_at DESC, id);

CREATE TABLE control.fire (
	schedule_id uuid NOT NULL,
	fire_at     timestamptz NOT NULL,
	tenant      int  NOT NULL,
	outcome     text NOT NULL CHECK (outcome IN ('started', 'skipped', 'refused')),
	eid         uuid,
	detail      text,
	created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (schedule_id, fire_at)
);
CREATE INDEX fire_age ON control.fire (tenant, created_at);

CREATE VIEW control.my_schedule WITH (security_barrier) AS
	SELECT * FROM control.schedule WHERE tenant = control.tenant_of_role();
CREATE VIEW control.my_fire WITH (security_barrier) AS
	SELECT * FROM control.fire WHERE tenant = control.tenant_of_role();
GRANT SELECT ON control.my_schedule, control.my_fire TO windlass_tenant;

-- ---- firing: the schedulers -----------------------------------------------------------------------------------

-- Up to {"limit"} schedules whose time has come: {"now_s","due":[{"id","rev","next_s","cron","timezone","misfire"}]}.
-- now() and not clock_timestamp(), which no index can be searched for. In a random order: those that cannot fire now (their tenant's tables are locked, say) do not fill every call.
CREATE FUNCTION control.schedules_due(p_request json) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
	SELECT json_build_object('now_s', floor(extract(epoch FROM now()))::bigint,
		'due', coalesce((SELECT json_agg(d) FROM (
			SELECT id, rev, extract(epoch FROM next_at)::bigint AS next_s, cron, timezone, misfire
			FROM control.schedule WHERE next_at <= now() ORDER BY random()
			LIMIT (p_request->>'limit')::int) d), '[]'))
$$;

-- One fire and what became of it. A schedule keeps its newest 1000 to 1500: one of each second has as many in a quarter of
-- an hour, and refused ones take from no quota.
CREATE FUNCTION control.fire_put(p_schedule control.schedule, p_at timestamptz, p_outcome text, p_eid uuid, p_detail text)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_fires bigint;
BEGIN
	INSERT INTO control.fire (schedule_id, tenant, fire_at, outcome, eid, detail)
	VALUES (p_schedule.id, p_schedule.tenant, p_at, p_outcome, p_eid, p_detail) ON CONFLICT DO NOTHING;
	UPDATE control.schedule SET last_fire = greatest(last_fire, p_at), fires = fires + 1,
		refusal = CASE WHEN p_outcome = 'refused' THEN p_detail END
	WHERE id = p_schedule.id RETURNING fires INTO v_fires;
	IF v_fires % 500 = 0 THEN
		DELETE FROM control.fire WHERE schedule_id = p_schedule.id AND fire_at < (SELECT f.fire_at FROM control.fire f
			WHERE f.schedule_id = p_schedule.id ORDER BY f.fire_at DESC OFFSET 999 LIMIT 1);
	END IF;
END $$;

-- Runs of a schedule that have not ended, of its last hundred fires.
CREATE FUNCTION control.schedule_running(p_schedule uuid) RETURNS uuid[]
LANGUAGE sql STABLE SET enable_seqscan = off AS $$
	SELECT coalesce(array_agg(d.eid ORDER BY d.eid), '{}')
	FROM (SELECT eid FROM control.fire WHERE schedule_id = p_schedule ORDER BY fire_at DESC LIMIT 100) f
	JOIN control.dispatch d ON d.eid = f.eid
$$;

-- Ask for the end of runs, as control.cancel() does for the tenant of a role; [{"eid","shard","ended"}] for the queue and for
-- those who watch: nobody else tells of the end of one that no supervisor held.
CREATE FUNCTION control.schedule_cancel(p_tenant int, p_eids uuid[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
	v_eid uuid;
	v_row control.dispatch;
	v_all jsonb := '[]';
BEGIN
	FOREACH v_eid IN ARRAY p_eids LOOP
		UPDATE control.dispatch SET cancel = true WHERE eid = v_eid AND tenant = p_tenant RETURNING * INTO v_row;
		CONTINUE WHEN NOT FOUND;
		IF v_row.state <> 'R' THEN
			DELETE FROM control.dispatch WHERE eid = v_eid;
			PERFORM control.terminal(p_tenant, v_eid, 'cancelled', v_row.epoch, v_row.started_at, NULL, NULL);
		END IF;
		v_all := v_all || jsonb_build_object('eid', v_eid, 'shard', v_row.shard, 'ended', v_row.state <> 'R');
	END LOOP;
	RETURN v_all;
END $$;

-- The sentence for an outcome of accept.
CREATE FUNCTION control.fire_refusal(p_outcome text, p_limit int) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE p_outcome
		WHEN 'no_flow' THEN 'the flow is deleted'
		WHEN 'archived' THEN 'the flow is archived'
		WHEN 'no_version' THEN 'the flow has no such version'
		WHEN 'quota' THEN format('the %s executions of this day are used up', p_limit)
		WHEN 'backlog' THEN format('%s executions wait already, as many as may', p_limit)
		ELSE format('the run was refused: %s', p_outcome) END
$$;

-- Let a schedule fire that the transaction has locked: {"enqueue","cancel"}. p_fire: {"at_s","eid","detail"}. A fire that
-- is known happens no second time: the clock was set back. What keeps on being refused for the same reason is recorded
-- the first time; a full day or queue each time.
CREATE FUNCTION control.schedule_fire_one(p_schedule control.schedule, p_fire json) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
	v_at      timestamptz := to_timestamp((p_fire->>'at_s')::bigint);
	v_state   text;
	v_running uuid[] := '{}';
	v_done    record;
	v_outcome text; -- of accept
	v_refused text;
	v_effects jsonb := '{"enqueue": [], "cancel": []}';
BEGIN
	PERFORM FROM control.fire WHERE schedule_id = p_schedule.id AND fire_at = v_at;
	IF FOUND THEN
		RETURN v_effects;
	END IF;
	SELECT state INTO v_state FROM control.tenant WHERE id = p_schedule.tenant;
	IF v_state <> 'active' THEN
		v_refused := format('the tenant is %s', v_state);
	ELSE
		IF p_schedule.overlap <> 'allow' THEN
			v_running := control.schedule_running(p_schedule.id);
		END IF;
		IF p_schedule.overlap = 'forbid' AND cardinality(v_running) > 0 THEN
			PERFORM control.fire_put(p_schedule, v_at, 'skipped', NULL, 'the run before it has not ended');
			RETURN v_effects;
		END IF;
		SELECT * INTO v_done FROM control.accept_for(p_schedule.tenant, json_build_array(json_build_object('ord', 0,
			'eid', p_fire->>'eid', 'flow', p_schedule.flow_id, 'version', p_schedule.version, 'may_draft', true,
			'inputs', p_schedule.inputs, 'labels', p_schedule.labels, 'timeout_ms', p_schedule.timeout_s * 1000::bigint,
			'user_id', p_schedule.created_by, 'source', 'schedule', 'source_id', p_schedule.id)));
		v_outcome := v_done.outcome;
		IF v_outcome <> 'accepted' THEN
			v_refused := control.fire_refusal(v_outcome, v_done.quota);
		END IF;
	END IF;
	IF v_refused IS NULL THEN
		v_effects := jsonb_build_object('enqueue', jsonb_build_array(jsonb_build_object('eid', v_done.eid,
			'tenant', v_done.tenant, 'shard', v_done.shard, 'gen', v_done.gen, 'seq', v_done.seq)),
			'cancel', control.schedule_cancel(p_schedule.tenant, v_running));
		PERFORM control.fire_put(p_schedule, v_at, 'started', v_done.eid, CASE WHEN cardinality(v_running) > 0
			THEN 'the run before it was cancelled' ELSE p_fire->>'detail' END);
	ELSIF v_refused IS DISTINCT FROM p_schedule.refusal OR v_outcome IN ('quota', 'backlog') THEN
		PERFORM control.fire_put(p_schedule, v_at, 'refused', NULL, v_refused);
	END IF;
	RETURN v_effects;
END $$;

CREATE TYPE control.schedule_turn AS (
	id uuid, rev int, next_s bigint, fires json, missed json, fault text, then_s bigint, upcoming json
);

-- A schedule's turn, if it is still as the scheduler saw it: its fires, and when it is due next.
CREATE FUNCTION control.schedule_take_turn(p_turn control.schedule_turn) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
	v_row     control.schedule;
	v_fire    json;
	v_one     jsonb;
	v_effects jsonb := '{"enqueue": [], "cancel": []}';
BEGIN
	SELECT * INTO v_row FROM control.schedule WHERE id = p_turn.id AND rev = p_turn.rev
	AND next_at = to_timestamp(p_turn.next_s) FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN v_effects;
	END IF;
	IF p_turn.missed IS NOT NULL THEN
		PERFORM control.fire_put(v_row, to_timestamp((p_turn.missed->>'at_s')::bigint), 'skipped', NULL,
		                         p_turn.missed->>'detail');
	END IF;
	IF p_turn.fault IS NOT NULL THEN
		PERFORM control.fire_put(v_row, v_row.next_at, 'refused', NULL, p_turn.fault);
	END IF;
	FOR v_fire IN SELECT f FROM json_array_elements(p_turn.fires) f LOOP
		v_one := control.schedule_fire_one(v_row, v_fire);
		v_effects := jsonb_build_object('enqueue', v_effects->'enqueue' || (v_one->'enqueue'),
		                                'cancel', v_effects->'cancel' || (v_one->'cancel'));
		SELECT * INTO v_row FROM control.schedule WHERE id = p_turn.id;
	END LOOP;
	UPDATE control.schedule SET next_at = to_timestamp(p_turn.then_s),
		upcoming = ARRAY(SELECT to_timestamp(u::bigint) FROM json_array_elements_text(p_turn.upcoming) u)
	WHERE id = p_turn.id;
	RETURN v_effects;
END $$;

-- {"turns": [schedule_turn]}: {"enqueue","cancel"} for the queue. One that cannot be had (a damaged tenant, say) is
-- recorded as refused and holds up no other; nor does a tenant whose tables are locked: it is tried again. In the order
-- of tenants, so that two schedulers do not wait for each other.
CREATE FUNCTION control.schedules_fire(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
	v_turn    control.schedule_turn;
	v_item    record;
	v_locked  int := 0;
	v_one     jsonb;
	v_effects jsonb := '{"enqueue": [], "cancel": []}';
BEGIN
	FOR v_item IN SELECT t AS turn, s.tenant FROM json_populate_recordset(NULL::control.schedule_turn, p_request->'turns') t
	              JOIN control.schedule s ON s.id = t.id ORDER BY s.tenant, s.id LOOP
		CONTINUE WHEN v_item.tenant = v_locked;
		v_turn := v_item.turn;
		BEGIN
			v_one := control.schedule_take_turn(v_turn);
		EXCEPTION
			WHEN lock_not_available THEN
				v_locked := v_item.tenant;
				CONTINUE;
			WHEN transaction_rollback OR insufficient_resources OR operator_intervention THEN
				RAISE; -- passes by itself
			WHEN OTHERS THEN
				RAISE WARNING 'schedule % cannot fire: %', v_turn.id, SQLERRM;
				v_turn.fault := left('the run cannot be stored: ' || SQLERRM, 500);
				v_turn.fires := '[]';
				v_turn.missed := NULL;
				v_one := control.schedule_take_turn(v_turn);
		END;
		v_effects := jsonb_build_object('enqueue', v_effects->'enqueue' || (v_one->'enqueue'),
		                                'cancel', v_effects->'cancel' || (v_one->'cancel'));
	END LOOP;
	RETURN v_effects;
END $$;

-- ---- retention -----------------------------------------------------------------------------------------------------

-- Drop fires that are older than their tenant keeps executions, {"limit"} at most; how many as {"dropped"}.
CREATE FUNCTION control.fires_drop(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_left  int := (p_request->>'limit')::int;
	v_count int;
	v_quota record;
BEGIN
	FOR v_quota IN SELECT tenant, now() - retention_days * interval '1 day' AS before FROM control.quota ORDER BY tenant LOOP
		DELETE FROM control.fire WHERE ctid = ANY (ARRAY(SELECT ctid FROM control.fire
			WHERE tenant = v_quota.tenant AND created_at < v_quota.before ORDER BY created_at LIMIT v_left));
		GET DIAGNOSTICS v_count = ROW_COUNT;
		v_left := v_left - v_count;
		EXIT WHEN v_left = 0;
	END LOOP;
	RETURN json_build_object('dropped', (p_request->>'limit')::int - v_left);
END $$;

-- ---- operations -------------------------------------------------------------------------------------------------------

CREATE FUNCTION api.schedule_json(s control.my_schedule) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', s.id, 'flow_id', s.flow_id, 'name', s.name, 'cron', s.cron, 'timezone', s.timezone,
		'inputs', s.inputs, 'labels', s.labels, 'version', s.version, 'misfire', s.misfire, 'overlap', s.overlap,
		'enabled', s.enabled, 'timeout_s', s.timeout_s,
		'next_fires', coalesce((SELECT json_agg(api.time(u) ORDER BY u) FROM unnest(s.upcoming) u), '[]'),
		'last_fire', api.time(s.last_fire), 'created_by', s.created_by, 'created_at', api.time(s.created_at),
		'updated_at', api.time(s.updated_at), 'rev', s.rev)
$$;

CREATE FUNCTION api.schedule_answer(p_status int, p_id uuid) RETURNS api.answer
LANGUAGE sql AS $$
	SELECT ROW(p_status, json_build_object('schedule', api.schedule_json(s)), s.rev::text,
	           CASE WHEN p_status = 201 THEN '/api/v1/schedules/' || s.id END, NULL)::api.answer
	FROM control.my_schedule s WHERE s.id = p_id
$$;

-- What an actor may do with a schedule is what he may do with its flow; that of a flow that is gone is the editors'.
CREATE FUNCTION api.schedule_access(p_actor json, p_flow uuid) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE WHEN EXISTS (SELECT FROM flows f WHERE f.id = p_flow) THEN api.flow_access(p_actor, p_flow) ELSE 'edit' END;
END $$;

-- The schedule of a request's path for who may do that much with its flow: else WL404 or WL403.
CREATE FUNCTION api.schedule_need(p_actor json, p_request json, p_access text) RETURNS control.my_schedule
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row control.my_schedule;
BEGIN
	SELECT * INTO v_row FROM control.my_schedule WHERE id = (p_request#>>'{params,id}')::uuid;
	PERFORM api.check_access(CASE WHEN v_row.id IS NULL THEN 'none' ELSE api.schedule_access(p_actor, v_row.flow_id) END,
	                         p_access, 'schedule');
	RETURN v_row;
END $$;

-- Whether the actor may run a flow's draft, as flows_execute asks.
CREATE FUNCTION api.schedule_may_draft(p_actor json, p_flow uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT p_actor->>'role' IN ('editor', 'admin') AND api.access_number(api.flow_access(p_actor, p_flow)) > 2
$$;

-- What the server needs before it can work out a new or a changed schedule: {"now_s", the schedule as it will be:
-- "flow_id","cron","timezone","version","inputs", "rev" of a changed one, and "schema": the flow's input_schema}. With
-- {"preview"} there is no flow, and now_s is the time after which the fires are wanted.
CREATE FUNCTION api.schedule_basis(p_actor json, p_request json) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
	v_body jsonb := p_request->'body';
	v_old  control.my_schedule;
	v_all  jsonb := '{"timezone": "UTC", "inputs": {}}';
	v_flow uuid;
	v_doc  json;
	v_hash bytea;
	v_draft boolean; -- its runs are of the draft, for want of a published version
	v_from timestamptz := coalesce(api.read_time(v_body->>'after', 'after'), clock_timestamp());
BEGIN
	IF p_request->>'preview' IS NOT NULL THEN
		RETURN (v_all || v_body || jsonb_build_object('now_s', floor(extract(epoch FROM v_from))::bigint))::json;
	END IF;
	IF p_request#>>'{params,id}' IS NOT NULL THEN
		v_old := api.schedule_need(p_actor, p_request, 'run');
		PERFORM api.check_match(p_request#>>'{params,If-Match}', v_old.rev, 'schedule');
		v_all := jsonb_build_object('flow_id', v_old.flow_id, 'cron', v_old.cron, 'timezone', v_old.timezone,
			'version', v_old.version, 'inputs', v_old.inputs, 'rev', v_old.rev);
	END IF;
	v_all := v_all || v_body;
	v_flow := (v_all->>'flow_id')::uuid;
	PERFORM api.need_flow(p_actor, v_flow, 'run');
	SELECT v_all->>'version' IS NULL AND f.published IS NULL INTO v_draft FROM flows f WHERE f.id = v_flow;
	IF v_draft AND NOT api.schedule_may_draft(p_actor, v_flow) THEN
		RAISE EXCEPTION 'the flow has no published version, and a draft runs only for who may edit' USING ERRCODE = 'WL403';
	END IF;
	SELECT CASE WHEN v_draft THEN f.draft_hash ELSE (SELECT v.doc_hash FROM flow_versions v WHERE v.flow_id = f.id
		AND v.version = coalesce((v_all->>'version')::int, f.published)) END INTO v_hash
	FROM flows f WHERE f.id = v_flow;
	IF v_hash IS NULL THEN
		PERFORM api.refuse('WL422', 'the flow has no such version', 'version', 'is no version of the flow');
	END IF;
	SELECT doc INTO v_doc FROM flow_docs WHERE hash = v_hash;
	RETURN (v_all || jsonb_build_object('now_s', floor(extract(epoch FROM v_from))::bigint,
	                                    'schema', v_doc->'input_schema'))::json;
END $$;

CREATE FUNCTION api.schedules_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_params json := p_request->'params';
	v_page   int := coalesce((v_params->>'page')::int, 1);
	v_limit  int := coalesce((v_params->>'limit')::int, 20);
	v_total  bigint;
	v_rows   json;
BEGIN
	WITH mine AS MATERIALIZED (SELECT s.id, s.created_at FROM control.my_schedule s
		WHERE (v_params->>'flow_id' IS NULL OR s.flow_id = (v_params->>'flow_id')::uuid)
		  AND api.schedule_access(p_actor, s.flow_id) <> 'none'),
	page AS (SELECT m.id FROM mine m ORDER BY m.created_at DESC, m.id LIMIT v_limit OFFSET (v_page - 1)::bigint * v_limit)
	SELECT (SELECT count(*) FROM mine), (SELECT coalesce(json_agg(api.schedule_json(s) ORDER BY s.created_at DESC, s.id), '[]')
		FROM page JOIN control.my_schedule s USING (id)) INTO v_total, v_rows;
	RETURN ROW(200, json_build_object('schedules', v_rows, 'total', v_total,
		'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.schedules_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.my_schedule := api.schedule_need(p_actor, p_request, 'view');
BEGIN
	RETURN api.schedule_answer(200, v_row.id);
END $$;

-- p_times: {"fires": [seconds]} from now on, as the server found them; none while the schedule is paused.
CREATE FUNCTION control.schedule_times(p_id uuid, p_times json) RETURNS void
LANGUAGE sql AS $$
	UPDATE control.schedule s SET
		next_at = CASE WHEN s.enabled THEN to_timestamp((p_times->'fires'->>0)::bigint) END,
		upcoming = CASE WHEN s.enabled
			THEN ARRAY(SELECT to_timestamp(u::bigint) FROM json_array_elements_text(p_times->'fires') u) ELSE '{}' END
	WHERE s.id = p_id
$$;

CREATE FUNCTION control.schedule_add(p_actor json, p_request json) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := control.tenant_of_role();
	v_body   json := p_request->'body';
	v_most   int := (p_request->>'most')::int;
	v_used   int;
	v_id     uuid := api.uuid7();
BEGIN
	PERFORM FROM control.quota WHERE tenant = v_tenant FOR UPDATE; -- one at a time: the count below is exact
	SELECT count(*) INTO v_used FROM control.schedule WHERE tenant = v_tenant;
	IF v_used >= v_most THEN
		RAISE EXCEPTION 'the tenant has reached its number of schedules' USING ERRCODE = 'WL429',
			DETAIL = json_build_object('quota', 'schedules', 'limit', v_most, 'used', v_used)::text;
	END IF;
	INSERT INTO control.schedule (id, tenant, flow_id, name, cron, timezone, inputs, labels, version, misfire, overlap,
	                              enabled, timeout_s, created_by)
	VALUES (v_id, v_tenant, (v_body->>'flow_id')::uuid, v_body->>'name', v_body->>'cron',
		coalesce(v_body->>'timezone', 'UTC'), coalesce(v_body->'inputs', '{}'), coalesce((v_body->'labels')::jsonb, '{}'),
		(v_body->>'version')::int, coalesce(v_body->>'misfire', 'latest'), coalesce(v_body->>'overlap', 'allow'),
		coalesce((v_body->>'enabled')::boolean, true), coalesce((v_body->>'timeout_s')::int, 3600),
		(p_actor->>'user')::uuid);
	PERFORM control.schedule_times(v_id, p_request);
	RETURN v_id;
END $$;

-- With {"fires","most"} of the server.
CREATE FUNCTION api.schedules_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_body json := p_request->'body';
	v_id   uuid;
BEGIN
	PERFORM api.need_flow(p_actor, (v_body->>'flow_id')::uuid, 'run');
	v_id := control.schedule_add(p_actor, p_request);
	PERFORM control.audit(p_actor, 'schedule.create', 'schedule', v_id::text, json_build_object('flow_id',
		v_body->>'flow_id', 'name', v_body->>'name', 'cron', v_body->>'cron', 'timezone', v_body->>'timezone'));
	RETURN api.schedule_answer(201, v_id);
END $$;

CREATE FUNCTION control.schedule_change(p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_body json := p_request->'body';
	v_id   uuid := (p_request#>>'{params,id}')::uuid;
	v_row  control.schedule;
BEGIN
	SELECT * INTO v_row FROM control.schedule WHERE id = v_id AND tenant = control.tenant_of_role() FOR UPDATE;
	IF v_row.rev IS DISTINCT FROM (p_request->>'rev')::int THEN
		IF p_request#>>'{params,If-Match}' IS NOT NULL AND v_row.id IS NOT NULL THEN
			PERFORM api.check_match(p_request#>>'{params,If-Match}', v_row.rev, 'schedule');
		END IF;
		RAISE EXCEPTION 'the schedule was changed at the same time; read it again' USING ERRCODE = 'WL409';
	END IF;
	UPDATE control.schedule s SET name = coalesce(v_body->>'name', s.name), cron = coalesce(v_body->>'cron', s.cron),
		timezone = coalesce(v_body->>'timezone', s.timezone), inputs = coalesce(v_body->'inputs', s.inputs),
		labels = coalesce((v_body->'labels')::jsonb, s.labels),
		version = CASE WHEN v_body::jsonb ? 'version' THEN (v_body->>'version')::int ELSE s.version END,
		misfire = coalesce(v_body->>'misfire', s.misfire), overlap = coalesce(v_body->>'overlap', s.overlap),
		enabled = coalesce((v_body->>'enabled')::boolean, s.enabled),
		timeout_s = coalesce((v_body->>'timeout_s')::int, s.timeout_s), rev = s.rev + 1, updated_at = clock_timestamp(),
		refusal = NULL
	WHERE s.id = v_id;
	-- a fire that is due and has not happened yet stays: only what tells its time takes it back
	IF v_body->>'cron' IS NOT NULL OR v_body->>'timezone' IS NOT NULL OR v_body->>'enabled' IS NOT NULL
	   AND (v_body->>'enabled')::boolean <> v_row.enabled OR v_row.next_at IS NULL THEN
		PERFORM control.schedule_times(v_id, p_request);
	END IF;
END $$;

-- With {"fires","rev"} of the server: what it worked out holds for that revision alone.
CREATE FUNCTION api.schedules_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.my_schedule := api.schedule_need(p_actor, p_request, 'run');
BEGIN
	PERFORM api.need_flow(p_actor, v_row.flow_id, 'run');
	PERFORM control.schedule_change(p_request);
	PERFORM control.audit(p_actor, 'schedule.update', 'schedule', v_row.id::text,
		((p_request->'body')::jsonb - 'inputs')::json);
	RETURN api.schedule_answer(200, v_row.id);
END $$;

-- Its fires go with it: nobody could see them any more.
CREATE FUNCTION control.schedule_drop(p_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	DELETE FROM control.schedule WHERE id = p_id AND tenant = control.tenant_of_role();
	DELETE FROM control.fire WHERE schedule_id = p_id AND tenant = control.tenant_of_role();
$$;

CREATE FUNCTION api.schedules_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.my_schedule := api.schedule_need(p_actor, p_request, 'run');
BEGIN
	PERFORM control.schedule_drop(v_row.id);
	PERFORM control.audit(p_actor, 'schedule.delete', 'schedule', v_row.id::text, json_build_object('name', v_row.name,
		'flow_id', v_row.flow_id));
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION control.schedule_ran(p_id uuid, p_eid uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	INSERT INTO control.fire (schedule_id, tenant, fire_at, outcome, eid, detail)
	SELECT s.id, s.tenant, clock_timestamp(), 'started', p_eid, 'by hand' FROM control.schedule s
	WHERE s.id = p_id AND s.tenant = control.tenant_of_role()
$$;

-- By hand: now, also while the schedule is paused, and whatever runs of it have not ended.
CREATE FUNCTION api.schedules_run(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.my_schedule := api.schedule_need(p_actor, p_request, 'run');
	v_new record;
BEGIN
	PERFORM api.need_flow(p_actor, v_row.flow_id, 'run');
	SELECT * INTO v_new FROM api.accept_one(json_build_object('eid', api.uuid7(), 'flow', v_row.flow_id,
		'version', v_row.version, 'may_draft', api.schedule_may_draft(p_actor, v_row.flow_id),
		'inputs', v_row.inputs, 'labels', v_row.labels,
		'timeout_ms', v_row.timeout_s * 1000::bigint, 'user_id', coalesce(p_actor->>'user', v_row.created_by::text),
		'source', 'schedule', 'source_id', v_row.id));
	PERFORM control.schedule_ran(v_row.id, v_new.eid);
	PERFORM control.audit(p_actor, 'schedule.run', 'schedule', v_row.id::text, json_build_object('execution_id', v_new.eid));
	RETURN ROW(202, json_build_object('execution_id', v_new.eid, 'status', 'queued'), NULL,
	           '/api/v1/executions/' || v_new.eid, v_new.effects)::api.answer;
END $$;

CREATE FUNCTION api.schedules_fires(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row    control.my_schedule := api.schedule_need(p_actor, p_request, 'view');
	v_limit  int := coalesce((p_request#>>'{params,limit}')::int, 20);
	v_cursor text := p_request#>>'{params,cursor}';
	v_fires  control.my_fire[];
BEGIN
	IF v_cursor !~ '^[0-9]{1,17}$' THEN
		PERFORM api.refuse('WL400', 'a parameter is wrong', 'cursor', 'is not one that this server gave');
	END IF;
	v_fires := ARRAY(SELECT f FROM control.my_fire f WHERE f.schedule_id = v_row.id
		AND (v_cursor IS NULL OR f.fire_at < timestamptz 'epoch' + v_cursor::bigint * interval '1 microsecond')
		ORDER BY f.fire_at DESC LIMIT v_limit + 1);
	RETURN ROW(200, json_build_object('fires', (SELECT coalesce(json_agg(json_build_object('fire_at', api.time(f.fire_at),
			'outcome', f.outcome, 'execution_id', f.eid, 'detail', f.detail, 'created_at', api.time(f.created_at))
			ORDER BY f.fire_at DESC), '[]') FROM unnest(v_fires[1:v_limit]) f),
		'page_info', json_build_object('limit', v_limit, 'next_cursor', CASE WHEN cardinality(v_fires) > v_limit
			THEN (extract(epoch FROM (v_fires[v_limit]).fire_at) * 1000000)::bigint::text END)), NULL, NULL, NULL)::api.answer;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.schedule_add(json, json), control.schedule_change(json), control.schedule_drop(uuid),
	control.schedule_ran(uuid, uuid) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.schedules_due(json), control.schedules_fire(json), control.fires_drop(json)
	TO windlass_engine;
