-- The functions that the programs call. Those with SECURITY DEFINER run with windlass_owner's rights; functions
-- meant for a tenant's transaction take the tenant from its role and never from an argument.
--
-- Errors that a caller tells apart have codes of their own:
--   WL404 no such thing   WL409 conflict   WL410 state forbids it   WL422 key reused with another body
--   WL429 over a quota (DETAIL is JSON: quota, limit, used, resets_at)
-- enable_seqscan is off where rows of the ledger are looked up one by one: plans are cached while it is empty, and
-- must still be right when it is long.
SET LOCAL ROLE windlass_owner;

-- ---- people ----------------------------------------------------------------------------------------

CREATE FUNCTION control.register(p_slug text, p_name text, p_user uuid, p_email text, p_password_hash text,
                                 p_local_model_url text DEFAULT NULL)
RETURNS TABLE (tenant int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id int;
BEGIN
	-- looked for first: an insert that conflicts uses up a tenant number, and those end at 32000 (see the warden)
	IF NOT EXISTS (SELECT FROM control.tenant WHERE slug = p_slug) THEN
		INSERT INTO control.tenant (slug, name) VALUES (p_slug, p_name)
		ON CONFLICT (slug) DO NOTHING RETURNING id INTO v_id;
	END IF;
	IF v_id IS NULL THEN
		RAISE EXCEPTION 'this tenant_slug is taken' USING ERRCODE = 'WL409';
	END IF;
	PERFORM control.tenant_schema_create(v_id);
	INSERT INTO control.quota (tenant) VALUES (v_id);
	INSERT INTO control.app_user (id, tenant, email, password_hash, role)
	VALUES (p_user, v_id, p_email, p_password_hash, 'admin');
	PERFORM control.providers_seed(v_id, p_user, p_local_model_url);
	RETURN QUERY SELECT v_id;
END $$;

-- Let one transaction at a time change the family of a token. The statements after it see what the one before it did:
-- without this, a log-out would not see the token that a refresh under way is about to add.
CREATE FUNCTION control.session_lock(p_hash bytea) RETURNS void
LANGUAGE sql AS $$
	SELECT pg_advisory_xact_lock(hashtextextended(family::text, 7202)) FROM control.refresh_token WHERE hash = p_hash
$$;

-- ---- flows: called in a tenant's transaction -----------------------------------------------------------

-- Hold the number of flows still while one is added: exact under parallel calls.
CREATE FUNCTION control.flow_slot() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := control.tenant_of_role();
	v_limit  int;
	v_used   int;
BEGIN
	SELECT max_flows INTO v_limit FROM control.quota WHERE tenant = v_tenant FOR UPDATE;
	EXECUTE format('SELECT count(*) FROM t_%s.flows WHERE deleted_at IS NULL', v_tenant) INTO v_used;
	IF v_used >= v_limit THEN
		RAISE EXCEPTION 'the tenant has reached its number of flows' USING ERRCODE = 'WL429',
			DETAIL = json_build_object('quota', 'flows', 'limit', v_limit, 'used', v_used)::text;
	END IF;
END $$;

-- ---- accept ----------------------------------------------------------------------------------------------

-- One execution that asks to be accepted, and what became of it.
CREATE TYPE control.accept_item AS (
	ord int, eid uuid, flow uuid, version text, may_draft boolean, inputs json, labels jsonb, timeout_ms bigint,
	user_id uuid, idem text, req_hash text, outcome text, doc_hash bytea, picked int
);

-- How many executions of a tenant wait, counted up to p_most.
CREATE FUNCTION control.waiting(p_tenant int, p_most int) RETURNS int
LANGUAGE sql STABLE SET enable_seqscan = off AS $$
	SELECT count(*)::int FROM (SELECT FROM control.dispatch d WHERE d.shard = (p_tenant % 16)::smallint
	                           AND d.tenant = p_tenant AND d.state = 'Q' LIMIT p_most) w
$$;

-- Take up to p_want from the day's quota and from the room among those that wait. backlog: max_queued when that room
-- was what did not suffice, else NULL.
-- Counting those that wait at every accept would be dear. What the last count left free is used up first: more than
-- that cannot have come since, as every accept of the tenant holds this row. Then they are counted again, for at most
-- a twentieth of the time; until then a full tenant is refused.
CREATE FUNCTION control.accept_quota(p_tenant int, p_want int, OUT granted int, OUT day_limit int, OUT used int,
                                     OUT backlog int)
LANGUAGE plpgsql AS $$
DECLARE
	v_day     date := (now() AT TIME ZONE 'UTC')::date;
	v_most    int;
	v_room    int;
	v_recount timestamptz;
	v_from    timestamptz;
BEGIN
	-- mostly there is room for all, and one statement takes it
	UPDATE control.tenant_day d SET executions = d.executions + p_want, room = least(d.room, q.max_queued) - p_want
	FROM control.quota q
	WHERE d.tenant = p_tenant AND d.day = v_day AND q.tenant = p_tenant AND p_want > 0
	  AND d.executions + p_want <= q.max_executions_per_day AND least(d.room, q.max_queued) >= p_want
	RETURNING p_want, q.max_executions_per_day, d.executions INTO granted, day_limit, used;
	IF FOUND THEN
		RETURN;
	END IF;
	LOOP
		SELECT d.executions, least(d.room, greatest(q.max_queued, 0)), d.recount, q.max_executions_per_day,
		       greatest(q.max_queued, 0)
		INTO used, v_room, v_recount, day_limit, v_most
		FROM control.tenant_day d LEFT JOIN control.quota q ON q.tenant = d.tenant
		WHERE d.tenant = p_tenant AND d.day = v_day FOR UPDATE OF d;
		EXIT WHEN FOUND;
		INSERT INTO control.tenant_day (tenant, day) VALUES (p_tenant, v_day) ON CONFLICT DO NOTHING;
	END LOOP;
	granted := least(p_want, greatest(day_limit - used, 0));
	IF v_room < granted AND v_recount <= clock_timestamp() THEN
		v_from := clock_timestamp();
		v_room := v_most - control.waiting(p_tenant, v_most);
		v_recount := clock_timestamp() + least(20 * (clock_timestamp() - v_from), interval '1 s');
	END IF;
	backlog := CASE WHEN v_room < granted THEN v_most END;
	IF granted > 0 THEN
		granted := least(granted, v_room);
		used := used + granted;
		UPDATE control.tenant_day d SET executions = used, room = v_room - granted, recount = v_recount
		WHERE d.tenant = p_tenant AND d.day = v_day;
	END IF;
END $$;

-- ---- the life of an accepted execution: called by scheduler and supervisor ------------------------------

-- An execution whose ledger row was just deleted, and what becomes its terminal row.
CREATE TYPE control.ended AS (
	tenant int, eid uuid, status text, epoch int, started timestamptz, outputs json, error json
);

-- One flow document by content, for a tenant that the caller was given by start_batch.
CREATE FUNCTION control.flow_doc(p_tenant int, p_hash bytea) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_doc json;
BEGIN
	EXECUTE format('SELECT doc FROM t_%s.flow_docs WHERE hash = $1', p_tenant) INTO v_doc USING p_hash;
	RETURN v_doc;
END $$;

-- Finish executions (compare and set on epoch). Returns the ids that this call made terminal; the others were
-- fenced or are terminal already.
CREATE FUNCTION control.finish_batch(p_eids uuid[], p_epochs int[], p_statuses text[], p_outputs json[], p_errors json[])
RETURNS TABLE (eid uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	v_item  record;
	v_from  record;
	v_ended control.ended[] := '{}';
BEGIN
	FOR v_item IN SELECT * FROM unnest(p_eids, p_epochs, p_statuses, p_outputs, p_errors)
	              AS w(eid, epoch, status, outputs, error) ORDER BY 1 LOOP
		DELETE FROM control.dispatch d WHERE d.eid = v_item.eid AND d.state = 'R' AND d.epoch = v_item.epoch
		RETURNING d.tenant, d.started_at INTO v_from;
		IF FOUND THEN
			v_ended := v_ended || ROW(v_from.tenant, v_item.eid, v_item.status, v_item.epoch, v_from.started_at,
			                          v_item.outputs, v_item.error)::control.ended;
			eid := v_item.eid;
			RETURN NEXT;
		END IF;
	END LOOP;
	IF cardinality(v_ended) > 0 THEN
		PERFORM control.terminal_batch(v_ended);
	END IF;
END $$;

-- Give started executions back, as a supervisor does when it drains: they wait again and count as no attempt.
-- Returns those that this call gave back.
CREATE FUNCTION control.release_batch(p_eids uuid[], p_epochs int[]) RETURNS TABLE (eid uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	WITH held AS MATERIALIZED ( -- rows are locked by id everywhere, so that no two calls wait for each other
		SELECT d.eid, d.epoch FROM control.dispatch d
		JOIN unnest(p_eids, p_epochs) AS w(eid, epoch) ON d.eid = w.eid AND d.epoch = w.epoch
		WHERE d.state = 'R' ORDER BY d.eid FOR UPDATE OF d)
	UPDATE control.dispatch d SET state = 'Q', sup = '' FROM held
	WHERE d.eid = held.eid AND d.state = 'R' AND d.epoch = held.epoch RETURNING d.eid
$$;

-- ---- scheduler -------------------------------------------------------------------------------------------

-- What is asked again and again is written in plpgsql: a body in sql is planned at each call.
CREATE FUNCTION control.shards() RETURNS TABLE (id int, gen bigint, redis_run_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT s.id::int, s.gen, s.redis_run_id FROM control.shard s ORDER BY s.id;
END $$;

-- Which shards have rows that have waited or run for so long: bit n is shard n.
CREATE FUNCTION control.shards_in_use(p_min_age_ms int) RETURNS int
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
BEGIN
	RETURN (SELECT coalesce(bit_or(1 << n), 0) FROM generate_series(0, 15) n WHERE EXISTS (
		SELECT FROM control.dispatch d WHERE d.shard = n AND d.state <> 'W'
		AND d.accepted_at < clock_timestamp() - make_interval(secs => p_min_age_ms / 1000.0)));
END $$;

-- One look for all chores of the schedulers: whether there is anything to do, by the chore's name. A chore that is not
-- named here looks for itself, as often as its period says.
CREATE FUNCTION control.chores_due(p_request json) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
BEGIN
	-- now() and not clock_timestamp(), which no index can be searched for
	RETURN (SELECT json_build_object(
		'schedules', EXISTS (SELECT FROM control.schedule WHERE next_at <= now()),
		'wake', EXISTS (SELECT FROM control.parked WHERE due <= now()),
		'webhooks', EXISTS (SELECT FROM control.out_delivery WHERE state = 'pending' AND next_try_at <= now()),
		'audit', EXISTS (SELECT FROM control.audit_outbox),
		'mail', EXISTS (SELECT FROM control.mail_outbox WHERE due <= now()),
		'objects', EXISTS (SELECT FROM control.object_trash WHERE due <= now()),
		'exports', EXISTS (SELECT FROM control.export_work WHERE due <= now()),
		'chat', EXISTS (SELECT FROM control.chat_turn WHERE step = 'ask' AND due <= now())
		        OR EXISTS (SELECT FROM control.chat_message WHERE NOT shipped)
		        OR EXISTS (SELECT FROM control.chat_gone WHERE due <= now()),
		'purge', EXISTS (SELECT FROM control.tenant_purge WHERE step <> 'done' AND due <= now())));
END $$;

GRANT EXECUTE ON FUNCTION control.shards_in_use(int), control.chores_due(json) TO windlass_engine;

-- Begin a new incarnation of a shard: no start under the old gen can be in progress, none will succeed after.
CREATE FUNCTION control.shard_renew(p_shard int, p_run_id text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_gen bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(7201, p_shard);
	UPDATE control.shard SET gen = gen + 1, redis_run_id = p_run_id WHERE id = p_shard RETURNING gen INTO v_gen;
	RETURN v_gen;
END $$;

-- Throw away what nobody asks for any more.
CREATE FUNCTION control.janitor() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	DELETE FROM control.idem WHERE created < now() - interval '24 hours';
	DELETE FROM control.refresh_token WHERE expires_at < now() - interval '1 day';
	DELETE FROM control.tenant_day WHERE day < (now() AT TIME ZONE 'UTC')::date - 400;
$$;

-- ---- rights ----------------------------------------------------------------------------------------------

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.tenant_of_role(), control.flow_slot() TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.register(text, text, uuid, text, text, text) TO windlass_web;
GRANT EXECUTE ON FUNCTION control.flow_doc(int, bytea), control.finish_batch(uuid[], int[], text[], json[], json[]), control.release_batch(uuid[], int[]), control.shards(),
	control.shard_renew(int, text), control.janitor() TO windlass_engine;
