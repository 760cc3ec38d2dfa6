-- Runs started by a webhook, and webhooks sent at the end of a run.
SET LOCAL ROLE windlass_owner;

-- ---- tables -------------------------------------------------------------------------------------------------------
-- Secrets are sealed with the tenant's key ("webhook:<id>"): nobody who reads the database can sign. While a secret
-- overlaps with the one before it, both stand.

CREATE TABLE control.webhook (
	id               uuid PRIMARY KEY,
	tenant           int  NOT NULL REFERENCES control.tenant ON DELETE CASCADE,
	flow_id          uuid NOT NULL,
	name             text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
	inputs           json, -- a template; NULL: {body, headers, query} as they come
	labels           json NOT NULL DEFAULT '{}',
	version          int,  -- NULL: the newest published one
	enabled          boolean NOT NULL,
	timeout_s        int  NOT NULL,
	secret           text NOT NULL,
	old_secret       text,
	old_secret_until timestamptz,
	rev              int  NOT NULL DEFAULT 1,
	created_by       uuid NOT NULL,
	created_at       timestamptz NOT NULL DEFAULT now(),
	updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_tenant ON control.webhook (tenant, created_at DESC, id DESC);

-- What came in lately, so that it starts one run only. Keys: "s:" and the SHA-256 of what was signed, until no such
-- signature is taken any more; "d:" and the sender's name of the delivery, for a day of its retries.
CREATE TABLE control.webhook_seen (
	hook  uuid NOT NULL REFERENCES control.webhook ON DELETE CASCADE,
	key   text NOT NULL,
	eid   uuid NOT NULL,
	until timestamptz NOT NULL,
	PRIMARY KEY (hook, key)
);
CREATE INDEX webhook_seen_until ON control.webhook_seen (until);

CREATE TABLE control.webhook_delivery (
	id          uuid PRIMARY KEY,
	hook        uuid NOT NULL REFERENCES control.webhook ON DELETE CASCADE,
	received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	outcome     text NOT NULL CHECK (outcome IN ('accepted', 'replayed', 'refused')),
	status      int  NOT NULL,
	eid         uuid,
	detail      text,
	ip          text NOT NULL
);
CREATE INDEX webhook_delivery_hook ON control.webhook_delivery (hook, id DESC);
CREATE INDEX webhook_delivery_received ON control.webhook_delivery (received_at);

CREATE TABLE control.outgoing_webhook (
	id               uuid PRIMARY KEY,
	tenant           int  NOT NULL REFERENCES control.tenant ON DELETE CASCADE,
	name             text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
	url              text NOT NULL,
	host             text NOT NULL, -- of the url, as the server has parsed it
	events           text[] NOT NULL,
	flow_id          uuid, -- NULL: of all flows
	sees_private     boolean NOT NULL, -- an admin chose the url: it is told of private flows, too
	chosen_by        uuid    NOT NULL, -- whoever chose the url: of a private flow with that flow_id it is told what he may see
	enabled          boolean NOT NULL,
	failures         int  NOT NULL DEFAULT 0, -- tries that failed or were slow, since one was quick and well
	secret           text NOT NULL,
	old_secret       text,
	old_secret_until timestamptz,
	rev              int  NOT NULL DEFAULT 1,
	created_by       uuid NOT NULL,
	created_at       timestamptz NOT NULL DEFAULT now(),
	updated_at       timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX outgoing_webhook_tenant ON control.outgoing_webhook (tenant, created_at DESC, id DESC);

-- A pending row is its own outbox: next_try_at says when it is due, and while it is being sent, when it is taken for
-- lost and becomes due again.
CREATE TABLE control.out_delivery (
	id           uuid PRIMARY KEY,
	hook         uuid NOT NULL REFERENCES control.outgoing_webhook ON DELETE CASCADE,
	tenant       int  NOT NULL,
	eid          uuid, -- NULL: a test
	event        text NOT NULL,
	state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
	sending      boolean NOT NULL DEFAULT false,
	attempts     int  NOT NULL DEFAULT 0, -- since it was made or sent once more
	tries        int  NOT NULL DEFAULT 0, -- in all: a late report of an earlier try does not fit
	next_try_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
	last_status  int,
	last_error   text,
	created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
	delivered_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX out_delivery_due ON control.out_delivery (next_try_at) WHERE state = 'pending';
CREATE INDEX out_delivery_tenant_due ON control.out_delivery (tenant, next_try_at) WHERE state = 'pending';
CREATE INDEX out_delivery_sending ON control.out_delivery (tenant) WHERE sending;
CREATE INDEX out_delivery_hook ON control.out_delivery (hook, id DESC);
CREATE INDEX out_delivery_created ON control.out_delivery (created_at);

-- What a tenant may read of them: its own, and no secrets.
CREATE VIEW control.my_webhook WITH (security_barrier) AS
	SELECT id, flow_id, name, inputs, labels, version, enabled, timeout_s, rev, created_by, created_at, updated_at,
	       CASE WHEN old_secret_until > now() THEN old_secret_until END AS old_secret_until
	FROM control.webhook WHERE tenant = control.tenant_of_role();
CREATE VIEW control.my_webhook_delivery WITH (security_barrier) AS
	SELECT d.* FROM control.webhook_delivery d JOIN control.webhook w ON w.id = d.hook
	WHERE w.tenant = control.tenant_of_role();
CREATE VIEW control.my_outgoing_webhook WITH (security_barrier) AS
	SELECT id, name, url, events, flow_id, enabled, rev, created_by, created_at, updated_at,
	       CASE WHEN old_secret_until > now() THEN old_secret_until END AS old_secret_until
	FROM control.outgoing_webhook WHERE tenant = control.tenant_of_role();
CREATE VIEW control.my_out_delivery WITH (security_barrier) AS
	SELECT id, hook, eid, event, state, attempts, next_try_at, last_status, last_error, created_at, delivered_at
	FROM control.out_delivery WHERE tenant = control.tenant_of_role();
GRANT SELECT ON control.my_webhook, control.my_webhook_delivery, control.my_outgoing_webhook, control.my_out_delivery
	TO windlass_tenant;

-- ---- what both kinds share -------------------------------------------------------------------------------------------

-- The rights on a hook are those on its flow: none, view, run, edit or own. A hook of no flow, or of one that is gone
-- for good, is everybody's by role.
CREATE FUNCTION api.hook_access(p_actor json, p_flow uuid) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE WHEN EXISTS (SELECT FROM flows WHERE id = p_flow) THEN api.flow_access(p_actor, p_flow) ELSE 'edit' END;
END $$;

-- Demand that flow_id of the body is a flow that the actor may do that with. The thing that is missing is no part of
-- the path, so it is a fault of the body.
CREATE FUNCTION api.hook_need_flow(p_actor json, p_flow uuid, p_access text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	PERFORM api.need_flow(p_actor, p_flow, p_access);
EXCEPTION WHEN SQLSTATE 'WL404' THEN
	PERFORM api.refuse('WL422', 'there is no such flow', 'flow_id', 'is no flow of yours');
END $$;

-- Where a list goes on: the id of the last one that was shown.
CREATE FUNCTION api.hook_cursor(p_request json) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_cursor text := p_request#>>'{params,cursor}';
BEGIN
	IF v_cursor IS NULL THEN
		RETURN 'ffffffff-ffff-ffff-ffff-ffffffffffff';
	ELSIF v_cursor !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN
		PERFORM api.refuse('WL400', 'a parameter is wrong', 'cursor', 'is not one that this server gave');
	END IF;
	RETURN v_cursor::uuid;
END $$;

-- One page of deliveries, newest first: p_rows has one more than the limit when there are more.
CREATE FUNCTION api.hook_deliveries(p_rows json, p_limit int) RETURNS api.answer
LANGUAGE sql IMMUTABLE AS $$
	SELECT 200, json_build_object('deliveries', coalesce((SELECT json_agg(r ORDER BY n)
			FROM json_array_elements(p_rows) WITH ORDINALITY AS e(r, n) WHERE n <= p_limit), '[]'),
		'page_info', json_build_object('limit', p_limit, 'next_cursor',
			CASE WHEN json_array_length(p_rows) > p_limit THEN p_rows->(p_limit - 1)->>'id' END)),
		NULL::text, NULL::text, NULL::json
$$;

-- Lock what bounds a tenant's hooks: 100 of a kind.
CREATE FUNCTION control.hook_slot(p_table regclass) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_count int;
BEGIN
	PERFORM pg_advisory_xact_lock(7211, control.tenant_of_role());
	EXECUTE format('SELECT count(*) FROM %s WHERE tenant = $1', p_table) INTO v_count USING control.tenant_of_role();
	IF v_count >= 100 THEN
		RAISE EXCEPTION 'a tenant has at most 100 webhooks of a kind' USING ERRCODE = 'WL409';
	END IF;
END $$;

-- The new secret's overlap with the old one, as columns are set.
CREATE FUNCTION control.hook_overlap(p_request json) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
	SELECT now() + coalesce((p_request#>>'{body,overlap_s}')::int, 86400) * interval '1 s'
$$;

-- ---- webhooks that start runs: what people do with them ------------------------------------------------------------------

CREATE FUNCTION api.webhook_json(w control.my_webhook) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', w.id, 'flow_id', w.flow_id, 'name', w.name, 'inputs', w.inputs, 'labels', w.labels,
		'version', w.version, 'enabled', w.enabled, 'timeout_s', w.timeout_s, 'path', '/hooks/' || w.id,
		'old_secret_until', api.time(w.old_secret_until), 'created_by', w.created_by,
		'created_at', api.time(w.created_at), 'updated_at', api.time(w.updated_at), 'rev', w.rev)
$$;

-- The webhook of the path, when the actor may do that with its flow.
CREATE FUNCTION api.webhook_need(p_actor json, p_request json, p_access text) RETURNS control.my_webhook
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_hook control.my_webhook;
BEGIN
	SELECT * INTO v_hook FROM control.my_webhook WHERE id = (p_request#>>'{params,id}')::uuid;
	PERFORM api.check_access(CASE WHEN FOUND THEN api.hook_access(p_actor, v_hook.flow_id) ELSE 'none' END, p_access,
	                         'webhook');
	RETURN v_hook;
END $$;

CREATE FUNCTION api.webhook_answer(p_status int, p_id uuid) RETURNS api.answer
LANGUAGE sql STABLE AS $$
	SELECT p_status, json_build_object('webhook', api.webhook_json(w)), w.rev::text,
	       CASE WHEN p_status = 201 THEN '/api/v1/webhooks/' || w.id END, NULL::json
	FROM control.my_webhook w WHERE w.id = p_id
$$;

CREATE FUNCTION api.webhooks_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_page  int  := (p_request#>>'{params,page}')::int;
	v_limit int  := (p_request#>>'{params,limit}')::int;
	v_flow  uuid := (p_request#>>'{params,flow_id}')::uuid;
	v_rows  json;
	v_total bigint;
BEGIN
	WITH mine AS MATERIALIZED (
		SELECT w FROM control.my_webhook w
		WHERE (v_flow IS NULL OR w.flow_id = v_flow) AND api.hook_access(p_actor, w.flow_id) <> 'none')
	SELECT (SELECT count(*) FROM mine), (SELECT coalesce(json_agg(p.shown), '[]') FROM (
		SELECT api.webhook_json(m.w) AS shown FROM mine m ORDER BY (m.w).created_at DESC, (m.w).id DESC
		LIMIT v_limit OFFSET (v_page - 1) * v_limit) p) INTO v_total, v_rows;
	RETURN (200, json_build_object('webhooks', v_rows, 'total', v_total,
	                               'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.webhooks_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_hook control.my_webhook := api.webhook_need(p_actor, p_request, 'view');
BEGIN
	RETURN api.webhook_answer(200, v_hook.id);
END $$;

CREATE FUNCTION api.webhook_check_version(p_flow uuid, p_version int) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_version IS NOT NULL AND NOT EXISTS (
		SELECT FROM flow_versions v WHERE v.flow_id = p_flow AND v.version = p_version) THEN
		PERFORM api.refuse('WL422', 'the flow has no such version', 'version', 'is no published version of the flow');
	END IF;
END $$;

CREATE FUNCTION control.webhook_insert(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_body json := p_request->'body';
BEGIN
	PERFORM control.hook_slot('control.webhook');
	INSERT INTO control.webhook (id, tenant, flow_id, name, inputs, labels, version, enabled, timeout_s, secret, created_by)
	VALUES ((p_request->>'id')::uuid, control.tenant_of_role(), (v_body->>'flow_id')::uuid, v_body->>'name',
	        v_body->'inputs', coalesce(v_body->'labels', '{}'), (v_body->>'version')::int,
	        coalesce((v_body->>'enabled')::boolean, true), coalesce((v_body->>'timeout_s')::int, 3600),
	        p_request->>'secret', (p_actor->>'user')::uuid);
	PERFORM control.audit(p_actor, 'webhook.create', 'webhook', p_request->>'id',
		json_build_object('name', v_body->>'name', 'flow_id', v_body->>'flow_id'));
END $$;

-- p_request also has id and the sealed secret.
CREATE FUNCTION api.webhooks_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_flow uuid := (p_request#>>'{body,flow_id}')::uuid;
BEGIN
	PERFORM api.hook_need_flow(p_actor, v_flow, 'edit');
	PERFORM api.webhook_check_version(v_flow, (p_request#>>'{body,version}')::int);
	PERFORM control.webhook_insert(p_actor, p_request);
	RETURN api.webhook_answer(201, (p_request->>'id')::uuid);
END $$;

CREATE FUNCTION control.webhook_change(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id   uuid  := (p_request#>>'{params,id}')::uuid;
	v_body jsonb := (p_request->'body')::jsonb;
	v_rev  int;
BEGIN
	SELECT rev INTO v_rev FROM control.webhook WHERE id = v_id AND tenant = control.tenant_of_role() FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing('webhook');
	END IF;
	PERFORM api.check_match(p_request#>>'{params,If-Match}', v_rev, 'webhook');
	UPDATE control.webhook SET name = coalesce(v_body->>'name', name),
		inputs = coalesce(p_request#>'{body,inputs}', inputs), labels = coalesce(p_request#>'{body,labels}', labels),
		version = CASE WHEN v_body ? 'version' THEN (v_body->>'version')::int ELSE version END,
		enabled = coalesce((v_body->>'enabled')::boolean, enabled),
		timeout_s = coalesce((v_body->>'timeout_s')::int, timeout_s), rev = rev + 1, updated_at = now()
	WHERE id = v_id;
	PERFORM control.audit(p_actor, 'webhook.update', 'webhook', v_id::text,
		json_build_object('changed', (SELECT json_agg(k) FROM jsonb_object_keys(v_body) k)));
END $$;

CREATE FUNCTION api.webhooks_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_hook control.my_webhook := api.webhook_need(p_actor, p_request, 'edit');
BEGIN
	PERFORM api.webhook_check_version(v_hook.flow_id, (p_request#>>'{body,version}')::int);
	PERFORM control.webhook_change(p_actor, p_request);
	RETURN api.webhook_answer(200, v_hook.id);
END $$;

CREATE FUNCTION control.webhook_drop(p_actor json, p_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	DELETE FROM control.webhook WHERE id = p_id AND tenant = control.tenant_of_role();
	IF NOT FOUND THEN
		PERFORM api.missing('webhook');
	END IF;
	PERFORM control.audit(p_actor, 'webhook.delete', 'webhook', p_id::text);
END $$;

CREATE FUNCTION api.webhooks_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_hook control.my_webhook := api.webhook_need(p_actor, p_request, 'edit');
BEGIN
	PERFORM control.webhook_drop(p_actor, v_hook.id);
	RETURN (204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- p_request also has the new sealed secret. The old one stays good for a while, but never the one before that.
CREATE FUNCTION control.webhook_rotate(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_until timestamptz := control.hook_overlap(p_request);
BEGIN
	UPDATE control.webhook SET old_secret = CASE WHEN v_until > now() THEN secret END,
		old_secret_until = CASE WHEN v_until > now() THEN v_until END, secret = p_request->>'secret', rev = rev + 1,
		updated_at = now()
	WHERE id = (p_request#>>'{params,id}')::uuid AND tenant = control.tenant_of_role();
	IF NOT FOUND THEN
		PERFORM api.missing('webhook');
	END IF;
	PERFORM control.audit(p_actor, 'webhook.rotate', 'webhook', p_request#>>'{params,id}',
		json_build_object('old_secret_until', api.time(v_until)));
END $$;

CREATE FUNCTION api.webhooks_rotate(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_hook control.my_webhook := api.webhook_need(p_actor, p_request, 'edit');
BEGIN
	PERFORM control.webhook_rotate(p_actor, p_request);
	SELECT * INTO v_hook FROM control.my_webhook WHERE id = v_hook.id;
	RETURN (200, json_build_object('old_secret_until', api.time(v_hook.old_secret_until)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.webhooks_deliveries(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_hook  control.my_webhook := api.webhook_need(p_actor, p_request, 'view');
	v_limit int  := (p_request#>>'{params,limit}')::int;
	v_from  uuid := api.hook_cursor(p_request);
BEGIN
	RETURN api.hook_deliveries((SELECT coalesce(json_agg(json_build_object('id', d.id,
		'received_at', api.time(d.received_at), 'outcome', d.outcome, 'status', d.status, 'execution_id', d.eid,
		'detail', d.detail, 'ip', d.ip) ORDER BY d.id DESC), '[]')
		FROM (SELECT * FROM control.my_webhook_delivery WHERE hook = v_hook.id AND id < v_from
		      ORDER BY id DESC LIMIT v_limit + 1) d), v_limit);
END $$;

-- ---- webhooks that start runs: what comes in ------------------------------------------------------------------------------

-- What the server has to know to check a request to a hook; no row: there is no such hook, or its tenant is gone. The
-- document is the one that would run, or outcome says why none does.
CREATE FUNCTION control.hook_find(p_id uuid)
RETURNS TABLE (tenant int, suspended boolean, enabled boolean, tenant_key text, secret text, old_secret text, inputs json,
               outcome text, doc_hash text, input_schema json)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_hook   control.webhook;
	v_pick   record;
	v_schema json;
	v_state  text;
BEGIN
	SELECT w.* INTO v_hook FROM control.webhook w WHERE w.id = p_id;
	SELECT t.state INTO v_state FROM control.tenant t WHERE t.id = v_hook.tenant AND t.state <> 'deleted';
	IF v_state IS NULL THEN
		RETURN;
	END IF;
	SELECT * INTO v_pick FROM control.flow_pick(v_hook.tenant, v_hook.flow_id, v_hook.version::text, false, NULL, NULL, false);
	IF v_pick.outcome = 'accepted' THEN
		EXECUTE format('SELECT doc->''input_schema'' FROM t_%s.flow_docs WHERE hash = $1', v_hook.tenant)
		INTO v_schema USING v_pick.doc_hash;
	END IF;
	RETURN QUERY SELECT v_hook.tenant, v_state = 'suspended', v_hook.enabled, control.tenant_key_of(v_hook.tenant),
		v_hook.secret, CASE WHEN v_hook.old_secret_until > now() THEN v_hook.old_secret END, v_hook.inputs,
		v_pick.outcome, encode(v_pick.doc_hash, 'hex'), v_schema;
END $$;

CREATE FUNCTION control.hook_log(p_hook uuid, p_outcome text, p_status int, p_eid uuid, p_detail text, p_ip text)
RETURNS void
LANGUAGE sql AS $$
	INSERT INTO control.webhook_delivery (id, hook, outcome, status, eid, detail, ip)
	SELECT api.uuid7(), w.id, p_outcome, p_status, p_eid, left(p_detail, 500), coalesce(p_ip, '')
	FROM control.webhook w WHERE w.id = p_hook
$$;

-- A request that was refused: {"hook","status","detail","ip"}. The caller bounds how often.
CREATE FUNCTION control.hook_refused(p_request json) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT control.hook_log((p_request->>'hook')::uuid, 'refused', (p_request->>'status')::int, NULL, p_request->>'detail',
	                        p_request->>'ip')
$$;
GRANT EXECUTE ON FUNCTION control.hook_find(uuid), control.hook_refused(json) TO windlass_web;

-- The execution that this request started when it came before, else NULL: then it is remembered as p_eid's. A request
-- at the same time waits here for the other to commit. The signature's row always comes first, so that two requests
-- cannot wait for each other.
CREATE FUNCTION control.hook_seen(p_hook uuid, p_signed text, p_delivery text, p_eid uuid) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_eid uuid;
BEGIN
	INSERT INTO control.webhook_seen (hook, key, eid, until)
	VALUES (p_hook, 's:' || p_signed, p_eid, now() + interval '15 min') ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		SELECT eid INTO v_eid FROM control.webhook_seen WHERE hook = p_hook AND key = 's:' || p_signed;
		RETURN v_eid;
	END IF;
	IF p_delivery IS NOT NULL THEN
		INSERT INTO control.webhook_seen (hook, key, eid, until)
		VALUES (p_hook, 'd:' || p_delivery, p_eid, now() + interval '1 day') ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT eid INTO v_eid FROM control.webhook_seen WHERE hook = p_hook AND key = 'd:' || p_delivery;
			UPDATE control.webhook_seen SET eid = v_eid WHERE hook = p_hook AND key = 's:' || p_signed;
		END IF;
	END IF;
	RETURN v_eid;
END $$;

-- What was not accepted has not been seen: its sender may try again.
CREATE FUNCTION control.hook_forget(p_hook uuid, p_eid uuid) RETURNS void
LANGUAGE sql AS $$
	DELETE FROM control.webhook_seen WHERE hook = p_hook AND eid = p_eid
$$;

CREATE FUNCTION control.hook_not_accepted(p_outcome text, p_resets_s int) RETURNS api.answer
LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN p_outcome IN ('quota', 'backlog') THEN 429 ELSE 409 END, json_build_object('resets_s', p_resets_s,
		'detail', CASE p_outcome WHEN 'quota' THEN 'the tenant has used its executions of today'
		          WHEN 'backlog' THEN 'as many executions of the tenant wait as may'
		          ELSE 'the flow was changed at the same time; send it again' END),
		NULL::text, NULL::text, NULL::json
$$;

-- Accept what the server has checked: p_request also has eid, signed (hex), inputs and doc_hash (hex), the document
-- whose input_schema they fit. The status 0: another document would run by now; that, 409 and 429 have stored nothing.
CREATE FUNCTION api_public.hooks_receive(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_hook control.webhook;
	v_pick record;
	v_old  uuid;
	v_got  record;
	v_hash text := p_request->>'doc_hash';
BEGIN
	SELECT w.* INTO v_hook FROM control.webhook w WHERE w.id = (p_request#>>'{params,id}')::uuid;
	IF v_hook.id IS NULL THEN
		PERFORM api.missing('webhook');
	END IF;
	v_old := control.hook_seen(v_hook.id, p_request->>'signed', p_request#>>'{params,Windlass-Delivery}',
	                           (p_request->>'eid')::uuid);
	IF v_old IS NOT NULL THEN
		PERFORM control.hook_log(v_hook.id, 'replayed', 202, v_old, 'it came before', p_actor->>'ip');
		RETURN (202, json_build_object('execution_id', v_old, 'replayed', true), NULL, '/api/v1/executions/' || v_old,
		        NULL)::api.answer;
	END IF;
	SELECT * INTO v_pick FROM control.flow_pick(v_hook.tenant, v_hook.flow_id, v_hook.version::text, false, NULL, NULL, false);
	IF encode(v_pick.doc_hash, 'hex') IS DISTINCT FROM v_hash THEN
		PERFORM control.hook_forget(v_hook.id, (p_request->>'eid')::uuid);
		RETURN (0, NULL, NULL, NULL, NULL)::api.answer;
	END IF;
	SELECT * INTO v_got FROM control.accept_for(v_hook.tenant, json_build_array(json_build_object('ord', 0,
		'eid', p_request->>'eid', 'flow', v_hook.flow_id, 'version', v_hook.version, 'may_draft', false,
		'user_id', v_hook.created_by, 'timeout_ms', v_hook.timeout_s::bigint * 1000, 'labels', v_hook.labels,
		'inputs', p_request->'inputs', 'source', 'webhook', 'source_id', v_hook.id)));
	IF v_got.outcome <> 'accepted' THEN
		PERFORM control.hook_forget(v_hook.id, (p_request->>'eid')::uuid);
		RETURN control.hook_not_accepted(v_got.outcome, v_got.resets_s);
	END IF;
	IF (SELECT encode(d.doc_hash, 'hex') FROM control.dispatch d WHERE d.eid = v_got.eid) <> v_hash THEN
		RAISE EXCEPTION 'the flow was published anew at the same time; send it again' USING ERRCODE = 'WL409';
	END IF;
	PERFORM control.hook_log(v_hook.id, 'accepted', 202, v_got.eid, NULL, p_actor->>'ip');
	RETURN (202, json_build_object('execution_id', v_got.eid), NULL, '/api/v1/executions/' || v_got.eid,
		json_build_object('enqueue', json_build_array(json_build_object('eid', v_got.eid, 'tenant', v_got.tenant,
		                  'shard', v_got.shard, 'gen', v_got.gen, 'seq', v_got.seq))))::api.answer;
END $$;

-- ---- webhooks that are sent: what people do with them ----------------------------------------------------------------------

CREATE FUNCTION api.outgoing_json(w control.my_outgoing_webhook) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', w.id, 'name', w.name, 'url', w.url, 'events', w.events, 'flow_id', w.flow_id,
		'enabled', w.enabled, 'old_secret_until', api.time(w.old_secret_until), 'created_by', w.created_by,
		'created_at', api.time(w.created_at), 'updated_at', api.time(w.updated_at), 'rev', w.rev)
$$;

CREATE FUNCTION api.outgoing_need(p_actor json, p_request json) RETURNS control.my_outgoing_webhook
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_hook control.my_outgoing_webhook;
BEGIN
	SELECT * INTO v_hook FROM control.my_outgoing_webhook WHERE id = (p_request#>>'{params,id}')::uuid;
	PERFORM api.check_access(CASE WHEN FOUND THEN api.hook_access(p_actor, v_hook.flow_id) ELSE 'none' END, 'view',
	                         'outgoing webhook');
	RETURN v_hook;
END $$;

CREATE FUNCTION api.outgoing_answer(p_status int, p_id uuid) RETURNS api.answer
LANGUAGE sql STABLE AS $$
	SELECT p_status, json_build_object('outgoing_webhook', api.outgoing_json(w)), w.rev::text,
	       CASE WHEN p_status = 201 THEN '/api/v1/outgoing-webhooks/' || w.id END, NULL::json
	FROM control.my_outgoing_webhook w WHERE w.id = p_id
$$;

CREATE FUNCTION api.outgoing_webhooks_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_page  int := (p_request#>>'{params,page}')::int;
	v_limit int := (p_request#>>'{params,limit}')::int;
	v_rows  json;
	v_total bigint;
BEGIN
	WITH mine AS MATERIALIZED (
		SELECT w FROM control.my_outgoing_webhook w WHERE api.hook_access(p_actor, w.flow_id) <> 'none')
	SELECT (SELECT count(*) FROM mine), (SELECT coalesce(json_agg(p.shown), '[]') FROM (
		SELECT api.outgoing_json(m.w) AS shown FROM mine m ORDER BY (m.w).created_at DESC, (m.w).id DESC
		LIMIT v_limit OFFSET (v_page - 1) * v_limit) p) INTO v_total, v_rows;
	RETURN (200, json_build_object('outgoing_webhooks', v_rows, 'total', v_total,
	                               'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.outgoing_webhooks_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_hook control.my_outgoing_webhook := api.outgoing_need(p_actor, p_request);
BEGIN
	RETURN api.outgoing_answer(200, v_hook.id);
END $$;

CREATE FUNCTION control.outgoing_insert(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_body json := p_request->'body';
BEGIN
	PERFORM control.hook_slot('control.outgoing_webhook');
	INSERT INTO control.outgoing_webhook (id, tenant, name, url, host, events, flow_id, sees_private, chosen_by, enabled,
	                                      secret, created_by)
	VALUES ((p_request->>'id')::uuid, control.tenant_of_role(), v_body->>'name', v_body->>'url', p_request->>'host',
	        ARRAY(SELECT json_array_elements_text(v_body->'events')), (v_body->>'flow_id')::uuid,
	        p_actor->>'role' = 'admin', (p_actor->>'user')::uuid, coalesce((v_body->>'enabled')::boolean, true),
	        p_request->>'secret', (p_actor->>'user')::uuid);
	PERFORM control.audit(p_actor, 'outgoing_webhook.create', 'outgoing_webhook', p_request->>'id',
		json_build_object('name', v_body->>'name', 'host', p_request->>'host', 'flow_id', v_body->>'flow_id'));
END $$;

-- p_request also has id, host and the sealed secret.
CREATE FUNCTION api.outgoing_webhooks_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
BEGIN
	IF p_request#>>'{body,flow_id}' IS NOT NULL THEN
		PERFORM api.hook_need_flow(p_actor, (p_request#>>'{body,flow_id}')::uuid, 'view');
	END IF;
	PERFORM control.outgoing_insert(p_actor, p_request);
	RETURN api.outgoing_answer(201, (p_request->>'id')::uuid);
END $$;

-- What waits for a hook that is disabled has failed; it can be sent once more later.
CREATE FUNCTION control.outgoing_drop_pending(p_hook uuid, p_why text) RETURNS void
LANGUAGE sql AS $$
	UPDATE control.out_delivery SET state = 'failed', sending = false, last_error = p_why
	WHERE hook = p_hook AND state = 'pending'
$$;

CREATE FUNCTION control.outgoing_change(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id   uuid  := (p_request#>>'{params,id}')::uuid;
	v_body jsonb := (p_request->'body')::jsonb;
	v_rev  int;
BEGIN
	SELECT rev INTO v_rev FROM control.outgoing_webhook WHERE id = v_id AND tenant = control.tenant_of_role() FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing('outgoing webhook');
	END IF;
	PERFORM api.check_match(p_request#>>'{params,If-Match}', v_rev, 'outgoing webhook');
	UPDATE control.outgoing_webhook SET name = coalesce(v_body->>'name', name), url = coalesce(v_body->>'url', url),
		host = coalesce(p_request->>'host', host),
		events = CASE WHEN v_body ? 'events' THEN ARRAY(SELECT jsonb_array_elements_text(v_body->'events')) ELSE events END,
		flow_id = CASE WHEN v_body ? 'flow_id' THEN (v_body->>'flow_id')::uuid ELSE flow_id END,
		sees_private = CASE WHEN v_body ? 'url' OR v_body ? 'flow_id' THEN p_actor->>'role' = 'admin' ELSE sees_private END,
		chosen_by = CASE WHEN v_body ? 'url' OR v_body ? 'flow_id' THEN (p_actor->>'user')::uuid ELSE chosen_by END,
		enabled = coalesce((v_body->>'enabled')::boolean, enabled),
		failures = CASE WHEN v_body ? 'url' THEN 0 ELSE failures END, rev = rev + 1, updated_at = now()
	WHERE id = v_id;
	IF v_body->>'enabled' = 'false' THEN
		PERFORM control.outgoing_drop_pending(v_id, 'the webhook was disabled');
	END IF;
	PERFORM control.audit(p_actor, 'outgoing_webhook.update', 'outgoing_webhook', v_id::text,
		json_build_object('changed', (SELECT json_agg(k) FROM jsonb_object_keys(v_body) k)));
END $$;

-- p_request also has host when the body has a url.
CREATE FUNCTION api.outgoing_webhooks_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_hook control.my_outgoing_webhook := api.outgoing_need(p_actor, p_request);
BEGIN
	IF p_request#>>'{body,flow_id}' IS NOT NULL THEN
		PERFORM api.hook_need_flow(p_actor, (p_request#>>'{body,flow_id}')::uuid, 'view');
	END IF;
	PERFORM control.outgoing_change(p_actor, p_request);
	RETURN api.outgoing_answer(200, v_hook.id);
END $$;

CREATE FUNCTION control.outgoing_drop(p_actor json, p_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	DELETE FROM control.outgoing_webhook WHERE id = p_id AND tenant = control.tenant_of_role();
	IF NOT FOUND THEN
		PERFORM api.missing('outgoing webhook');
	END IF;
	PERFORM control.audit(p_actor, 'outgoing_webhook.delete', 'outgoing_webhook', p_id::text);
END $$;

CREATE FUNCTION api.outgoing_webhooks_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_hook control.my_outgoing_webhook := api.outgoing_need(p_actor, p_request);
BEGIN
	PERFORM control.outgoing_drop(p_actor, v_hook.id);
	RETURN (204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION control.outgoing_rotate(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_until timestamptz := control.hook_overlap(p_request);
BEGIN
	UPDATE control.outgoing_webhook SET old_secret = CASE WHEN v_until > now() THEN secret END,
		old_secret_until = CASE WHEN v_until > now() THEN v_until END, secret = p_request->>'secret', rev = rev + 1,
		updated_at = now()
	WHERE id = (p_request#>>'{params,id}')::uuid AND tenant = control.tenant_of_role();
	IF NOT FOUND THEN
		PERFORM api.missing('outgoing webhook');
	END IF;
	PERFORM control.audit(p_actor, 'outgoing_webhook.rotate', 'outgoing_webhook', p_request#>>'{params,id}',
		json_build_object('old_secret_until', api.time(v_until)));
END $$;

CREATE FUNCTION api.outgoing_webhooks_rotate(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_hook control.my_outgoing_webhook := api.outgoing_need(p_actor, p_request);
BEGIN
	PERFORM control.outgoing_rotate(p_actor, p_request);
	SELECT * INTO v_hook FROM control.my_outgoing_webhook WHERE id = v_hook.id;
	RETURN (200, json_build_object('old_secret_until', api.time(v_hook.old_secret_until)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.out_delivery_json(d control.my_out_delivery) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', d.id, 'event', d.event, 'execution_id', d.eid, 'state', d.state, 'attempts', d.attempts,
		'next_try_at', CASE WHEN d.state = 'pending' THEN api.time(d.next_try_at) END, 'last_status', d.last_status,
		'last_error', d.last_error, 'created_at', api.time(d.created_at), 'delivered_at', api.time(d.delivered_at))
$$;

CREATE FUNCTION api.outgoing_webhooks_deliveries(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_hook  control.my_outgoing_webhook := api.outgoing_need(p_actor, p_request);
	v_limit int  := (p_request#>>'{params,limit}')::int;
	v_from  uuid := api.hook_cursor(p_request);
BEGIN
	RETURN api.hook_deliveries((SELECT coalesce(json_agg(api.out_delivery_json(d) ORDER BY d.id DESC), '[]')
		FROM (SELECT * FROM control.my_out_delivery o WHERE o.hook = v_hook.id AND o.id < v_from
		      -- of a hook of all flows those of runs that he may see
		      AND (v_hook.flow_id IS NOT NULL OR o.eid IS NULL OR p_actor->>'role' = 'admin'
		           OR api.execution_access(p_actor, o.eid) <> 'none')
		      ORDER BY o.id DESC LIMIT v_limit + 1) d), v_limit);
END $$;

CREATE FUNCTION control.outgoing_test(p_actor json, p_hook uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id uuid := api.uuid7();
BEGIN
	IF (SELECT count(*) FROM control.out_delivery
	    WHERE hook = p_hook AND eid IS NULL AND created_at > now() - interval '1 min') >= 10 THEN
		RAISE EXCEPTION 'ten tests of this webhook were sent within a minute' USING ERRCODE = 'WL429',
			DETAIL = '{"resets_s": 60}';
	END IF;
	INSERT INTO control.out_delivery (id, hook, tenant, event)
	SELECT v_id, h.id, h.tenant, 'test' FROM control.outgoing_webhook h
	WHERE h.id = p_hook AND h.tenant = control.tenant_of_role();
	IF NOT FOUND THEN
		PERFORM api.missing('outgoing webhook');
	END IF;
	PERFORM control.audit(p_actor, 'outgoing_webhook.test', 'outgoing_webhook', p_hook::text);
	RETURN v_id;
END $$;

CREATE FUNCTION api.outgoing_check_enabled(p_enabled boolean) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF NOT p_enabled THEN
		RAISE EXCEPTION 'the outgoing webhook is disabled' USING ERRCODE = 'WL409';
	END IF;
END $$;

CREATE FUNCTION api.out_delivery_answer(p_id uuid) RETURNS api.answer
LANGUAGE sql STABLE AS $$
	SELECT 202, json_build_object('delivery', api.out_delivery_json(d)), NULL::text, NULL::text, NULL::json
	FROM control.my_out_delivery d WHERE d.id = p_id
$$;

CREATE FUNCTION api.outgoing_webhooks_test(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_hook control.my_outgoing_webhook := api.outgoing_need(p_actor, p_request);
	v_id   uuid;
BEGIN
	PERFORM api.outgoing_check_enabled(v_hook.enabled);
	v_id := control.outgoing_test(p_actor, v_hook.id);
	RETURN api.out_delivery_answer(v_id);
END $$;

CREATE FUNCTION control.outgoing_redeliver(p_actor json, p_hook uuid, p_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_state text;
BEGIN
	SELECT state INTO v_state FROM control.out_delivery
	WHERE id = p_id AND hook = p_hook AND tenant = control.tenant_of_role() FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing('delivery');
	ELSIF v_state = 'pending' THEN
		RAISE EXCEPTION 'the delivery is on its way already' USING ERRCODE = 'WL409';
	END IF;
	UPDATE control.out_delivery SET state = 'pending', attempts = 0, next_try_at = clock_timestamp(), last_status = NULL,
		last_error = NULL, delivered_at = NULL
	WHERE id = p_id;
	PERFORM control.audit(p_actor, 'outgoing_webhook.redeliver', 'outgoing_webhook', p_hook::text,
		json_build_object('delivery', p_id));
END $$;

CREATE FUNCTION api.outgoing_webhooks_redeliver(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_hook control.my_outgoing_webhook := api.outgoing_need(p_actor, p_request);
	v_id   uuid := (p_request#>>'{params,delivery_id}')::uuid;
BEGIN
	PERFORM api.outgoing_check_enabled(v_hook.enabled);
	PERFORM control.outgoing_redeliver(p_actor, v_hook.id, v_id);
	RETURN api.out_delivery_answer(v_id);
END $$;

GRANT EXECUTE ON FUNCTION control.webhook_insert(json, json), control.webhook_change(json, json),
	control.webhook_drop(json, uuid), control.webhook_rotate(json, json), control.outgoing_insert(json, json),
	control.outgoing_change(json, json), control.outgoing_drop(json, uuid), control.outgoing_rotate(json, json),
	control.outgoing_test(json, uuid), control.outgoing_redeliver(json, uuid, uuid) TO windlass_tenant;

-- ---- webhooks that are sent: at the end of a run ------------------------------------------------------------------------------

-- Whether a hook may be told of a run of that flow: what is private is only for who may see it, as things stand now. One
-- who is gone may see as much as a viewer.
CREATE FUNCTION control.hook_sees(p_hook control.outgoing_webhook, p_flow uuid, p_visibility text, p_owner uuid)
RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_share text;
	v_role  text;
BEGIN
	IF p_hook.flow_id IS NOT NULL AND p_hook.flow_id <> p_flow THEN
		RETURN false;
	ELSIF p_visibility IS DISTINCT FROM 'private' OR p_hook.sees_private THEN
		RETURN true;
	ELSIF p_hook.flow_id IS NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('SELECT access FROM t_%s.flow_shares WHERE flow_id = $1 AND user_id = $2', p_hook.tenant)
	INTO v_share USING p_flow, p_hook.chosen_by;
	SELECT u.role INTO v_role FROM control.app_user u WHERE u.id = p_hook.chosen_by AND u.tenant = p_hook.tenant;
	RETURN api.access_level(p_hook.chosen_by, coalesce(v_role, 'viewer'), p_visibility, p_owner, v_share) > 0;
END $$;

-- In the transaction that ends the run. Mostly nobody wants to know: one look into an index.
CREATE FUNCTION control.end_hooks(p_tenant int, p_eid uuid, p_status text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_run record;
BEGIN
	IF NOT EXISTS (SELECT FROM control.outgoing_webhook h
	               WHERE h.tenant = p_tenant AND h.enabled AND p_status = ANY (h.events)) THEN
		RETURN;
	END IF;
	EXECUTE format('SELECT e.flow_id, e.source, f.visibility, f.created_by FROM t_%1$s.executions e
	                LEFT JOIN t_%1$s.flows f ON f.id = e.flow_id WHERE e.id = $1', p_tenant) INTO v_run USING p_eid;
	INSERT INTO control.out_delivery (id, hook, tenant, eid, event)
	SELECT api.uuid7(), h.id, p_tenant, p_eid, p_status FROM control.outgoing_webhook h
	WHERE h.tenant = p_tenant AND h.enabled AND p_status = ANY (h.events) AND v_run.source <> 'tool'
	  AND control.hook_sees(h, v_run.flow_id, v_run.visibility, v_run.created_by);
END $$;

-- What is sent; NULL when the hook may not be told (any more). The same text in each try.
CREATE FUNCTION control.out_body(p_row control.out_delivery, p_hook control.outgoing_webhook) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	v_run  json;
	v_flow record;
BEGIN
	IF p_row.eid IS NOT NULL THEN
		EXECUTE format('SELECT json_build_object(''id'', e.id, ''flow_id'', e.flow_id, ''status'', e.status,
			''start_time'', api.time(e.start_time), ''end_time'', api.time(e.end_time),
			''outputs'', CASE WHEN octet_length(e.outputs::text) <= 65536 THEN e.outputs END,
			''outputs_left_out'', coalesce(octet_length(e.outputs::text) > 65536, false), ''error'', e.error)
			AS run, e.flow_id, f.visibility, f.created_by
			FROM t_%1$s.executions e LEFT JOIN t_%1$s.flows f ON f.id = e.flow_id WHERE e.id = $1',
			p_row.tenant) INTO v_flow USING p_row.eid;
		v_run := v_flow.run;
		IF v_run IS NULL OR NOT control.hook_sees(p_hook, v_flow.flow_id, v_flow.visibility, v_flow.created_by) THEN
			RETURN NULL;
		END IF;
	END IF;
	RETURN json_build_object('event', p_row.event, 'delivery_id', p_row.id, 'created_at', api.time(p_row.created_at),
	                         'execution', v_run)::text;
END $$;

-- Claim one delivery: it is due again at p_until unless a report comes. NULL when it will not be sent.
CREATE FUNCTION control.out_claim_one(p_row control.out_delivery, p_until timestamptz) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
	v_hook  control.outgoing_webhook;
	v_state text;
	v_body  text;
	v_why   text := 'its execution is gone, or of a private flow';
BEGIN
	SELECT h.* INTO v_hook FROM control.outgoing_webhook h WHERE h.id = p_row.hook;
	SELECT t.state INTO v_state FROM control.tenant t WHERE t.id = p_row.tenant;
	IF v_state = 'suspended' THEN
		UPDATE control.out_delivery SET next_try_at = clock_timestamp() + interval '1 hour', sending = false
		WHERE id = p_row.id;
		RETURN NULL;
	END IF;
	IF NOT v_hook.enabled OR v_state <> 'active' THEN
		v_why := 'the webhook was disabled';
	ELSE
		BEGIN
			v_body := control.out_body(p_row, v_hook);
		EXCEPTION WHEN OTHERS THEN -- one tenant's broken tables hold up nobody else
			v_why := 'its execution cannot be read';
		END;
	END IF;
	IF v_body IS NULL THEN
		UPDATE control.out_delivery SET state = 'failed', sending = false, last_error = v_why WHERE id = p_row.id;
		RETURN NULL;
	END IF;
	UPDATE control.out_delivery SET sending = true, attempts = attempts + 1, tries = tries + 1, next_try_at = p_until
	WHERE id = p_row.id;
	RETURN json_build_object('id', p_row.id, 'attempt', p_row.attempts + 1, 'try', p_row.tries + 1, 'hook', v_hook.id,
		'tenant', p_row.tenant, 'event', p_row.event, 'url', v_hook.url, 'body', v_body,
		'retry', v_hook.failures > 0, 'tenant_key', control.tenant_key_of(p_row.tenant), 'secret', v_hook.secret,
		'old_secret', CASE WHEN v_hook.old_secret_until > now() THEN v_hook.old_secret END);
END $$;

-- What is due of one tenant, as many as may be sent: p_most of it at once, p_host_most to one host, and to hooks whose
-- last try failed only when p_retry. Of a long line its head alone is looked at.
CREATE FUNCTION control.out_due(p_tenant int, p_now timestamptz, p_room int, p_most int, p_host_most int, p_retry boolean)
RETURNS TABLE (delivery control.out_delivery, failing boolean)
LANGUAGE sql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
	SELECT due.d, h.failures > 0
	FROM (SELECT d FROM control.out_delivery d
	      WHERE d.tenant = p_tenant AND d.state = 'pending' AND d.next_try_at <= p_now
	      ORDER BY d.tenant, d.next_try_at LIMIT 50 FOR UPDATE SKIP LOCKED) due
	JOIN control.outgoing_webhook h ON h.id = (due.d).hook
	WHERE (p_retry OR h.failures = 0) AND (SELECT count(*) FROM control.out_delivery o
		JOIN control.outgoing_webhook oh ON oh.id = o.hook
		WHERE o.sending AND o.next_try_at > p_now AND oh.host = h.host) < p_host_most
	ORDER BY (due.d).next_try_at
	LIMIT least(p_room, greatest(0, p_most - (SELECT count(*) FROM control.out_delivery o
		WHERE o.tenant = p_tenant AND o.sending AND o.next_try_at > p_now)))
$$;

-- The next tenant behind p_after (up to p_last) that something is due of; NULL: none. One look into an index for each
-- tenant that has anything pending.
CREATE FUNCTION control.out_next_tenant(p_after int, p_last int, p_now timestamptz) RETURNS int
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
	v_tenant int := p_after;
	v_due    timestamptz;
BEGIN
	LOOP
		SELECT d.tenant, d.next_try_at INTO v_tenant, v_due FROM control.out_delivery d
		WHERE d.state = 'pending' AND d.tenant > v_tenant AND d.tenant <= p_last ORDER BY d.tenant, d.next_try_at LIMIT 1;
		IF NOT FOUND THEN
			RETURN NULL;
		ELSIF v_due <= p_now THEN
			RETURN v_tenant;
		END IF;
	END LOOP;
END $$;

-- Claim what is due, a few of each tenant in turn: {"room", "retry_room" (of those, to hooks whose last try failed or was slow),
-- "tenant_most", "host_most" (sent to at once), "lease_ms", "after" (the tenant that was served last)}. Gives
-- {"deliveries": [...], "after"}.
CREATE FUNCTION control.out_claim(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_room    int := (p_request->>'room')::int;
	v_retry   int := (p_request->>'retry_room')::int;
	v_after   int := (p_request->>'after')::int;
	v_last    int := 2147483647; -- then once more from the first tenant up to where it began
	v_now     timestamptz := clock_timestamp();
	v_until   timestamptz := v_now + (p_request->>'lease_ms')::int * interval '1 ms';
	v_looks   int := 100; -- a claim is short, also when nothing of what is due may be sent
	v_tenant  int;
	v_row     record;
	v_one     json;
	v_list    json[] := '{}';
BEGIN
	IF NOT EXISTS (SELECT FROM control.out_delivery WHERE state = 'pending' AND next_try_at <= v_now) THEN
		v_room := 0;
	END IF;
	WHILE v_room > 0 AND v_looks > 0 LOOP
		v_tenant := control.out_next_tenant(v_after, v_last, v_now);
		IF v_tenant IS NULL THEN
			EXIT WHEN v_last < 2147483647;
			v_last := (p_request->>'after')::int;
			v_after := 0;
			CONTINUE;
		END IF;
		v_after := v_tenant;
		v_looks := v_looks - 1;
		FOR v_row IN SELECT * FROM control.out_due(v_tenant, v_now, v_room, (p_request->>'tenant_most')::int,
		                                           (p_request->>'host_most')::int, v_retry > 0) LOOP
			CONTINUE WHEN v_row.failing AND v_retry <= 0;
			v_one := control.out_claim_one(v_row.delivery, v_until);
			CONTINUE WHEN v_one IS NULL;
			v_list := v_list || v_one;
			v_room := v_room - 1;
			v_retry := v_retry - v_row.failing::int;
		END LOOP;
	END LOOP;
	RETURN json_build_object('deliveries', to_json(v_list), 'after', v_after);
END $$;

-- The receiver wants nothing any more (410): the hook is disabled, and its tenant's audit log says so.
CREATE FUNCTION control.out_gone(p_hook uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_tenant int;
BEGIN
	UPDATE control.outgoing_webhook SET enabled = false, rev = rev + 1, updated_at = now() WHERE id = p_hook AND enabled
	RETURNING tenant INTO v_tenant;
	IF FOUND THEN
		PERFORM control.outgoing_drop_pending(p_hook, 'the receiver answered 410');
		PERFORM control.audit_for(v_tenant, '{}', 'outgoing_webhook.disable', 'outgoing_webhook', p_hook::text,
			json_build_object('why', 'the receiver answered 410'));
	END IF;
END $$;

-- How tries went: [{"id", "hook", "try", "outcome" (delivered, retry, failed, gone), "slow", "status", "error",
-- "pause_ms"}].
CREATE FUNCTION control.out_report(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_one  record;
	v_hook uuid;
BEGIN
	FOR v_one IN SELECT * FROM json_to_recordset(p_request)
		AS x(id uuid, hook uuid, try int, outcome text, slow boolean, status int, error text, pause_ms bigint) ORDER BY hook, id LOOP
		-- the hook before its deliveries, as whoever changes or deletes one
		PERFORM FROM control.outgoing_webhook WHERE id = v_one.hook FOR NO KEY UPDATE;
		UPDATE control.out_delivery SET sending = false,
			state = CASE v_one.outcome WHEN 'delivered' THEN 'delivered' WHEN 'retry' THEN 'pending' ELSE 'failed' END,
			next_try_at = clock_timestamp() + coalesce(v_one.pause_ms, 0) * interval '1 ms',
			last_status = v_one.status, last_error = left(v_one.error, 500),
			delivered_at = CASE WHEN v_one.outcome = 'delivered' THEN clock_timestamp() END
		WHERE id = v_one.id AND tries = v_one.try AND state = 'pending' RETURNING hook INTO v_hook;
		CONTINUE WHEN NOT FOUND;
		IF v_one.outcome = 'gone' THEN
			PERFORM control.out_gone(v_hook);
		ELSIF v_one.outcome = 'delivered' AND v_one.slow IS NOT TRUE THEN
			UPDATE control.outgoing_webhook SET failures = 0 WHERE id = v_hook AND failures <> 0;
		ELSE
			UPDATE control.outgoing_webhook SET failures = failures + 1 WHERE id = v_hook;
		END IF;
	END LOOP;
	RETURN NULL;
END $$;

-- ---- what is kept ------------------------------------------------------------------------------------------------------------

-- Deliveries: 30 days, and of each hook the newest {"keep"} beside {"keep_refused"} refused ones and what is pending; at
-- most {"pending"} of those. Rows of webhook_seen: until their time is over.
CREATE FUNCTION control.hooks_tidy(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_keep    int := (p_request->>'keep')::int;
	v_refused int := (p_request->>'keep_refused')::int;
BEGIN
	DELETE FROM control.webhook_seen WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM control.webhook_seen WHERE until < now() ORDER BY until LIMIT 10000));
	DELETE FROM control.webhook_delivery WHERE ctid = ANY (ARRAY(SELECT ctid FROM control.webhook_delivery
		WHERE received_at < now() - interval '30 days' ORDER BY received_at LIMIT 10000));
	DELETE FROM control.out_delivery WHERE ctid = ANY (ARRAY(SELECT ctid FROM control.out_delivery
		WHERE created_at < now() - interval '30 days' AND state <> 'pending' ORDER BY created_at LIMIT 10000));
	DELETE FROM control.webhook_delivery d USING (
		SELECT id, outcome = 'refused' AS refused, row_number() OVER (PARTITION BY hook, outcome = 'refused' ORDER BY id DESC) AS nth
		FROM control.webhook_delivery WHERE hook IN (
			SELECT hook FROM control.webhook_delivery GROUP BY hook HAVING count(*) > least(v_keep, v_refused))) old
	WHERE d.id = old.id AND old.nth > CASE WHEN old.refused THEN v_refused ELSE v_keep END;
	DELETE FROM control.out_delivery d USING (
		SELECT id, row_number() OVER (PARTITION BY hook ORDER BY id DESC) AS nth
		FROM control.out_delivery WHERE state <> 'pending' AND hook IN (
			SELECT hook FROM control.out_delivery GROUP BY hook HAVING count(*) > v_keep)) old
	WHERE d.id = old.id AND old.nth > v_keep;
	UPDATE control.out_delivery d SET state = 'failed', sending = false, last_error = 'too many deliveries waited' FROM (
		SELECT id, row_number() OVER (PARTITION BY hook ORDER BY id DESC) AS nth
		FROM control.out_delivery WHERE state = 'pending' AND hook IN (SELECT hook FROM control.out_delivery
			WHERE state = 'pending' GROUP BY hook HAVING count(*) > (p_request->>'pending')::int)) old
	WHERE d.id = old.id AND old.nth > (p_request->>'pending')::int;
	RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION control.out_claim(json), control.out_report(json), control.hooks_tidy(json) TO windlass_engine;
