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

CREATE FUNCTION control.register(p_slug text, p_name text, p_user uuid, p_email text, p_password_hash text)
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
	RETURN QUERY SELECT v_id;
END $$;

-- The accounts that a login may mean: one row a tenant in which the address is known (p_slug NULL: all of them).
CREATE FUNCTION control.login_candidates(p_email text, p_slug text)
RETURNS TABLE (user_id uuid, tenant int, tenant_slug text, tenant_name text, email text, role text,
               password_hash text, state text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT u.id, t.id, t.slug, t.name, u.email, u.role, u.password_hash,
	       CASE WHEN t.state <> 'active' THEN t.state ELSE u.state END
	FROM control.app_user u JOIN control.tenant t ON t.id = u.tenant
	WHERE lower(u.email) = lower(p_email) AND (p_slug IS NULL OR t.slug = p_slug)
	ORDER BY u.created_at, u.id LIMIT 20
$$;

CREATE FUNCTION control.session_open(p_user uuid, p_family uuid, p_hash bytea, p_seconds int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	UPDATE control.app_user SET last_login = now() WHERE id = p_user;
	INSERT INTO control.refresh_token (hash, family, user_id, expires_at)
	VALUES (p_hash, p_family, p_user, now() + make_interval(secs => p_seconds));
$$;

-- Let one transaction at a time change the family of a token. The statements after it see what the one before it did:
-- without this, a log-out would not see the token that a refresh under way is about to add.
CREATE FUNCTION control.session_lock(p_hash bytea) RETURNS void
LANGUAGE sql AS $$
	SELECT pg_advisory_xact_lock(hashtextextended(family::text, 7202)) FROM control.refresh_token WHERE hash = p_hash
$$;

-- Change a refresh token for a new one. outcome: ok, unknown, expired, disabled, or reused: then the whole family
-- is revoked.
CREATE FUNCTION control.session_rotate(p_old bytea, p_new bytea, p_seconds int)
RETURNS TABLE (outcome text, user_id uuid, tenant int, tenant_slug text, email text, role text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_token control.refresh_token;
	v_user  control.app_user;
	v_slug  text;
BEGIN
	PERFORM control.session_lock(p_old);
	SELECT * INTO v_token FROM control.refresh_token WHERE hash = p_old FOR UPDATE;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'unknown', NULL::uuid, NULL::int, NULL::text, NULL::text, NULL::text;
		RETURN;
	END IF;
	IF v_token.used_at IS NOT NULL OR v_token.revoked_at IS NOT NULL THEN
		UPDATE control.refresh_token SET revoked_at = coalesce(revoked_at, now()) WHERE family = v_token.family;
		RETURN QUERY SELECT 'reused', v_token.user_id, NULL::int, NULL::text, NULL::text, NULL::text;
		RETURN;
	END IF;
	SELECT u.* INTO v_user FROM control.app_user u JOIN control.tenant t ON t.id = u.tenant
	WHERE u.id = v_token.user_id AND u.state = 'active' AND t.state = 'active';
	IF NOT FOUND OR v_token.expires_at <= now() THEN
		RETURN QUERY SELECT CASE WHEN v_token.expires_at <= now() THEN 'expired' ELSE 'disabled' END,
		                    v_token.user_id, NULL::int, NULL::text, NULL::text, NULL::text;
		RETURN;
	END IF;
	UPDATE control.refresh_token SET used_at = now() WHERE hash = p_old;
	INSERT INTO control.refresh_token (hash, family, user_id, expires_at)
	VALUES (p_new, v_token.family, v_token.user_id, now() + make_interval(secs => p_seconds));
	SELECT slug INTO v_slug FROM control.tenant WHERE id = v_user.tenant;
	RETURN QUERY SELECT 'ok', v_user.id, v_user.tenant, v_slug, v_user.email, v_user.role;
END $$;

-- Log out: revoke the family of a refresh token. True when the token was known.
CREATE FUNCTION control.session_close(p_hash bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	PERFORM control.session_lock(p_hash);
	UPDATE control.refresh_token SET revoked_at = coalesce(revoked_at, now())
	WHERE family = (SELECT family FROM control.refresh_token WHERE hash = p_hash);
	RETURN FOUND;
END $$;

-- False once the login behind an access token is over (its family revoked) or its user or tenant is disabled.
CREATE FUNCTION control.session_alive(p_family uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT EXISTS (
		SELECT FROM control.refresh_token r JOIN control.app_user u ON u.id = r.user_id
		JOIN control.tenant t ON t.id = u.tenant
		WHERE r.family = p_family AND r.revoked_at IS NULL AND u.state = 'active' AND t.state = 'active')
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

-- Accept executions of the tenant of this transaction: for each its idempotency key, its row in the tenant's schema
-- and its row in the ledger; the day's quota once for all, exact under parallel calls because its row is held until
-- commit. p_items: an array of {ord, eid, flow, version, may_draft, inputs, labels, timeout_ms, user_id, idem,
-- req_hash}; version: absent for the newest published one (else the draft where may_draft), "draft", or a number.
-- One row back for each item, in order. outcome: accepted; replayed (the key was seen with the same body: eid is the
-- first one's); key_reused (with another body); no_flow; archived; no_version; no_draft (nothing is published and
-- drafts are not his to run); quota (of the day); backlog (as many wait as may: then the columns quota and used are
-- max_queued and resets_s is 1). Only accepted stored anything. Several at once share one commit.
CREATE FUNCTION control.accept_batch(p_items json)
RETURNS TABLE (ord int, outcome text, eid uuid, tenant int, shard int, gen bigint, seq bigint, version int, quota int,
               used int, resets_s int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_tenant  int := control.tenant_of_role();
	v_items   control.accept_item[];
	v_granted int;
	v_limit   int;
	v_used    int;
	v_backlog int;
	v_refusal text;
	v_gen     bigint;
	v_reset   int := ceil(86400 - extract(epoch FROM (now() AT TIME ZONE 'UTC')::time));
BEGIN
	v_items := control.accept_pick(v_tenant, p_items);
	SELECT g.granted, g.day_limit, g.used, g.backlog INTO v_granted, v_limit, v_used, v_backlog
	FROM control.accept_quota(v_tenant,
		(SELECT count(*) FROM unnest(v_items) i WHERE i.outcome = 'accepted')::int) g;
	v_refusal := CASE WHEN v_backlog IS NULL THEN 'quota' ELSE 'backlog' END;
	FOR n IN 1 .. cardinality(v_items) LOOP
		IF v_items[n].outcome = 'accepted' THEN
			IF v_granted > 0 THEN
				v_granted := v_granted - 1;
			ELSE
				v_items[n].outcome := v_refusal;
				DELETE FROM control.idem i WHERE i.tenant = v_tenant AND i.key = v_items[n].idem;
			END IF;
		ELSIF v_items[n].outcome = 'replayed' AND NOT EXISTS (
			SELECT FROM control.idem i WHERE i.tenant = v_tenant AND i.key = v_items[n].idem) THEN
			v_items[n].outcome := v_refusal; -- its first was in this very batch and got nothing
		END IF;
	END LOOP;
	EXECUTE format('INSERT INTO t_%s.executions (id, flow_id, version, doc_hash, user_id, deadline, labels, inputs)
	                SELECT eid, flow, picked, doc_hash, user_id, clock_timestamp() + timeout_ms * interval ''1 ms'',
	                       coalesce(labels, ''{}''), coalesce(inputs, ''{}'')
	                FROM unnest($1) WHERE outcome = ''accepted''', v_tenant) USING v_items;
	INSERT INTO control.dispatch (eid, tenant, shard, deadline, flow_id, doc_hash, inputs)
	SELECT i.eid, v_tenant, v_tenant % 16, clock_timestamp() + i.timeout_ms * interval '1 ms', i.flow, i.doc_hash,
	       CASE WHEN octet_length(i.inputs::text) <= 4096 THEN i.inputs END
	FROM unnest(v_items) i WHERE i.outcome = 'accepted' ORDER BY i.ord;
	SELECT s.gen INTO v_gen FROM control.shard s WHERE s.id = v_tenant % 16;
	RETURN QUERY SELECT i.ord, i.outcome, i.eid, v_tenant, v_tenant % 16, v_gen, d.seq, i.picked,
		CASE WHEN i.outcome = 'backlog' THEN v_backlog ELSE v_limit END,
		CASE WHEN i.outcome = 'backlog' THEN v_backlog ELSE v_used END,
		CASE WHEN i.outcome = 'backlog' THEN 1 ELSE v_reset END
		FROM unnest(v_items) i LEFT JOIN control.dispatch d ON d.eid = i.eid AND i.outcome = 'accepted' ORDER BY i.ord;
END $$;

-- The first half of accept_batch: keys and documents. Items that may be accepted come back as such.
CREATE FUNCTION control.accept_pick(p_tenant int, p_items json) RETURNS control.accept_item[]
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	v_items control.accept_item[];
	v_item  control.accept_item;
	v_last  control.accept_item; -- calls of one batch mostly run the same flow: look it up once
	v_idem  control.idem;
	n       int;
BEGIN
	SELECT array_agg(x ORDER BY x.ord) INTO v_items
	FROM json_populate_recordset(NULL::control.accept_item, p_items) x;
	-- in order of their keys, so that two batches with the same keys wait for each other and do not deadlock
	FOR n IN SELECT u.place FROM unnest(v_items) WITH ORDINALITY
	         AS u(ord, eid, flow, version, may_draft, inputs, labels, timeout_ms, user_id, idem, req_hash, outcome,
	              doc_hash, picked, place)
	         ORDER BY u.idem, u.place LOOP
		v_item := v_items[n];
		v_item.outcome := 'accepted';
		IF v_item.idem IS NOT NULL THEN
			INSERT INTO control.idem (tenant, key, req_hash, eid)
			VALUES (p_tenant, v_item.idem, decode(v_item.req_hash, 'hex'), v_item.eid) ON CONFLICT DO NOTHING;
			IF NOT FOUND THEN
				SELECT * INTO v_idem FROM control.idem i WHERE i.tenant = p_tenant AND i.key = v_item.idem;
				v_item.outcome := CASE WHEN v_idem.req_hash = decode(v_item.req_hash, 'hex') THEN 'replayed'
				                       ELSE 'key_reused' END;
				v_item.eid := v_idem.eid;
			END IF;
		END IF;
		IF v_item.outcome = 'accepted' THEN
			IF (v_last.flow, v_last.version, v_last.may_draft) IS NOT DISTINCT FROM
			   (v_item.flow, v_item.version, v_item.may_draft) AND v_last.ord IS NOT NULL THEN
				v_item.outcome := v_last.outcome;
				v_item.doc_hash := v_last.doc_hash;
				v_item.picked := v_last.picked;
			ELSE
				SELECT f.outcome, f.doc_hash, f.version INTO v_item.outcome, v_item.doc_hash, v_item.picked
				FROM control.flow_pick(p_tenant, v_item.flow, v_item.version, v_item.may_draft) f;
				v_last := v_item;
			END IF;
			IF v_item.outcome <> 'accepted' AND v_item.idem IS NOT NULL THEN
				DELETE FROM control.idem i WHERE i.tenant = p_tenant AND i.key = v_item.idem;
			END IF;
		END IF;
		v_items[n] := v_item;
	END LOOP;
	RETURN v_items;
END $$;

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
CREATE FUNCTION control.accept_quota(p_tenant int, p_want int)
RETURNS TABLE (granted int, day_limit int, used int, backlog int)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	v_day     date := (now() AT TIME ZONE 'UTC')::date;
	v_limit   int;
	v_most    int;
	v_used    int;
	v_room    int;
	v_recount timestamptz;
	v_from    timestamptz;
	v_grant   int;
BEGIN
	SELECT q.max_executions_per_day, greatest(q.max_queued, 0) INTO v_limit, v_most
	FROM control.quota q WHERE q.tenant = p_tenant;
	LOOP
		SELECT d.executions, least(d.room, v_most), d.recount INTO v_used, v_room, v_recount
		FROM control.tenant_day d WHERE d.tenant = p_tenant AND d.day = v_day FOR UPDATE;
		EXIT WHEN FOUND;
		INSERT INTO control.tenant_day (tenant, day) VALUES (p_tenant, v_day) ON CONFLICT DO NOTHING;
	END LOOP;
	v_grant := least(p_want, greatest(v_limit - v_used, 0));
	IF v_room < v_grant AND v_recount <= clock_timestamp() THEN
		v_from := clock_timestamp();
		v_room := v_most - control.waiting(p_tenant, v_most);
		v_recount := clock_timestamp() + least(20 * (clock_timestamp() - v_from), interval '1 s');
	END IF;
	IF v_grant > 0 THEN
		UPDATE control.tenant_day d SET executions = d.executions + least(v_grant, v_room),
		       room = v_room - least(v_grant, v_room), recount = v_recount
		WHERE d.tenant = p_tenant AND d.day = v_day;
	END IF;
	RETURN QUERY SELECT least(v_grant, v_room), v_limit, v_used + least(v_grant, v_room),
	                    CASE WHEN v_room < v_grant THEN v_most END;
END $$;

-- Which document an execution of a flow runs, or why none.
CREATE FUNCTION control.flow_pick(p_tenant int, p_flow uuid, p_version text, p_may_draft boolean)
RETURNS TABLE (outcome text, doc_hash bytea, version int)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_draft     bytea;
	v_published int;
	v_status    text;
	v_hash      bytea;
BEGIN
	EXECUTE format('SELECT draft_hash, published, status FROM t_%s.flows WHERE id = $1 AND deleted_at IS NULL', p_tenant)
	INTO v_draft, v_published, v_status USING p_flow;
	IF v_draft IS NULL THEN
		RETURN QUERY SELECT 'no_flow', NULL::bytea, NULL::int;
	ELSIF v_status = 'archived' THEN
		RETURN QUERY SELECT 'archived', NULL::bytea, NULL::int;
	ELSIF p_version = 'draft' OR (p_version IS NULL AND v_published IS NULL) THEN
		RETURN QUERY SELECT CASE WHEN p_may_draft THEN 'accepted' ELSE 'no_draft' END, v_draft, NULL::int;
	ELSE
		EXECUTE format('SELECT doc_hash FROM t_%s.flow_versions WHERE flow_id = $1 AND version = $2', p_tenant)
		INTO v_hash USING p_flow, coalesce(p_version::int, v_published);
		RETURN QUERY SELECT CASE WHEN v_hash IS NULL THEN 'no_version' ELSE 'accepted' END, v_hash,
		                    coalesce(p_version::int, v_published);
	END IF;
END $$;

-- ---- the life of an accepted execution: called by scheduler and supervisor ------------------------------

-- An execution whose ledger row was just deleted, and what becomes its terminal row.
CREATE TYPE control.ended AS (
	tenant int, eid uuid, status text, epoch int, started timestamptz, outputs json, error json
);

-- Write the terminal row of an execution whose ledger row was just deleted.
CREATE FUNCTION control.terminal(p_tenant int, p_eid uuid, p_status text, p_epoch int, p_started timestamptz,
                                 p_outputs json, p_error json) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('UPDATE t_%s.executions SET status = $2, epoch = $3, start_time = $4, end_time = clock_timestamp(),
	                outputs = $5, error = $6 WHERE id = $1', p_tenant)
	USING p_eid, p_status, p_epoch, p_started, p_outputs, p_error;
END $$;

-- Start claimed executions (compare and set on epoch and gen), one row back for each asked, in any order.
-- outcome: started; gone (no row: already terminal); cancelled (made terminal here); stale (another epoch or gen);
-- early (its retry delay is not over).
CREATE FUNCTION control.start_batch(p_sup text, p_eids uuid[], p_epochs int[], p_shards smallint[], p_gens bigint[])
RETURNS TABLE (eid uuid, epoch int, outcome text, tenant int, flow_id uuid, doc_hash bytea, inputs json,
               deadline_left_ms bigint, deliveries int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	v_item record;
	v_row  control.dispatch;
	v_in   json;
BEGIN
	FOR v_item IN SELECT DISTINCT s FROM unnest(p_shards) s ORDER BY s LOOP
		PERFORM pg_advisory_xact_lock_shared(7201, v_item.s);
	END LOOP;
	FOR v_item IN SELECT * FROM unnest(p_eids, p_epochs, p_shards, p_gens) AS w(eid, epoch, shard, gen) ORDER BY 1 LOOP
		UPDATE control.dispatch d
		SET state = 'R', epoch = v_item.epoch, sup = p_sup, started_at = coalesce(d.started_at, clock_timestamp())
		WHERE d.eid = v_item.eid AND d.epoch < v_item.epoch AND NOT d.cancel AND d.state = 'Q'
		  AND (d.not_before IS NULL OR d.not_before <= clock_timestamp())
		  AND v_item.gen = (SELECT s.gen FROM control.shard s WHERE s.id = v_item.shard)
		RETURNING d.* INTO v_row;
		IF FOUND THEN
			v_in := v_row.inputs;
			IF v_in IS NULL THEN
				EXECUTE format('SELECT inputs FROM t_%s.executions WHERE id = $1', v_row.tenant) INTO v_in USING v_row.eid;
			END IF;
			RETURN QUERY SELECT v_row.eid, v_item.epoch, 'started', v_row.tenant, v_row.flow_id, v_row.doc_hash, v_in,
				(extract(epoch FROM v_row.deadline - clock_timestamp()) * 1000)::bigint, v_row.deliveries::int;
			CONTINUE;
		END IF;
		SELECT * INTO v_row FROM control.dispatch d WHERE d.eid = v_item.eid;
		RETURN QUERY SELECT v_item.eid, v_item.epoch,
			CASE WHEN v_row.eid IS NULL THEN 'gone' WHEN v_row.not_before > clock_timestamp() THEN 'early'
			     WHEN v_row.cancel AND v_row.state = 'Q' THEN 'cancelled' ELSE 'stale' END,
			v_row.tenant, NULL::uuid, NULL::bytea, NULL::json, NULL::bigint, v_row.deliveries::int;
		IF v_row.cancel AND v_row.state = 'Q' THEN
			DELETE FROM control.dispatch d WHERE d.eid = v_item.eid;
			PERFORM control.terminal(v_row.tenant, v_row.eid, 'cancelled', v_row.epoch, v_row.started_at, NULL, NULL);
		END IF;
	END LOOP;
END $$;

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
	v_row   control.dispatch;
	v_ended control.ended[] := '{}';
BEGIN
	FOR v_item IN SELECT * FROM unnest(p_eids, p_epochs, p_statuses, p_outputs, p_errors)
	              AS w(eid, epoch, status, outputs, error) ORDER BY 1 LOOP
		DELETE FROM control.dispatch d WHERE d.eid = v_item.eid AND d.state = 'R' AND d.epoch = v_item.epoch
		RETURNING d.* INTO v_row;
		IF FOUND THEN
			v_ended := v_ended || ROW(v_row.tenant, v_row.eid, v_item.status, v_row.epoch, v_row.started_at,
			                          v_item.outputs, v_item.error)::control.ended;
			eid := v_item.eid;
			RETURN NEXT;
		END IF;
	END LOOP;
	PERFORM control.terminal_batch(v_ended);
END $$;

-- The terminal rows of several executions. A statement on a tenant's table is planned each time, so many rows of one
-- tenant share one; for a few the plain statement is cheaper.
CREATE FUNCTION control.terminal_batch(p_ended control.ended[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_one   control.ended;
	v_group record;
BEGIN
	IF cardinality(p_ended) < 4 THEN
		FOREACH v_one IN ARRAY p_ended LOOP
			PERFORM control.terminal(v_one.tenant, v_one.eid, v_one.status, v_one.epoch, v_one.started, v_one.outputs,
			                         v_one.error);
		END LOOP;
		RETURN;
	END IF;
	FOR v_group IN SELECT e.tenant, count(*) AS rows, array_agg(e) AS ended FROM unnest(p_ended) e GROUP BY 1 LOOP
		IF v_group.rows < 4 THEN
			PERFORM control.terminal_batch(v_group.ended);
		ELSE
			EXECUTE format('UPDATE t_%s.executions x SET status = w.status, epoch = w.epoch, start_time = w.started,
			                end_time = clock_timestamp(), outputs = w.outputs, error = w.error
			                FROM unnest($1) w WHERE x.id = w.eid', v_group.tenant) USING v_group.ended;
		END IF;
	END LOOP;
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

-- Fence attempts whose lease has expired, started or not, before their Redis slot is freed. outcome: requeue
-- (waits again), poison (failed for good here), cancelled (made terminal here), gone (no row),
-- newer (a later epoch holds it).
CREATE FUNCTION control.fence_batch(p_eids uuid[], p_epochs int[], p_max_deliveries int)
RETURNS TABLE (eid uuid, epoch int, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	v_item record;
	v_row  control.dispatch;
BEGIN
	FOR v_item IN SELECT * FROM unnest(p_eids, p_epochs) AS w(eid, epoch) ORDER BY 1 LOOP
		UPDATE control.dispatch d
		SET state = 'Q', sup = '', epoch = greatest(d.epoch, v_item.epoch),
		    deliveries = d.deliveries + CASE WHEN d.state = 'R' THEN 1 ELSE 0 END
		WHERE d.eid = v_item.eid AND d.epoch <= v_item.epoch RETURNING d.* INTO v_row;
		IF NOT FOUND THEN
			RETURN QUERY SELECT v_item.eid, v_item.epoch,
				CASE WHEN EXISTS (SELECT FROM control.dispatch d WHERE d.eid = v_item.eid) THEN 'newer' ELSE 'gone' END;
		ELSIF v_row.cancel OR v_row.deliveries > p_max_deliveries THEN
			DELETE FROM control.dispatch d WHERE d.eid = v_item.eid;
			PERFORM control.terminal(v_row.tenant, v_row.eid, CASE WHEN v_row.cancel THEN 'cancelled' ELSE 'failed' END,
				v_row.epoch, v_row.started_at, NULL, CASE WHEN NOT v_row.cancel THEN json_build_object(
				'code', 'poison', 'message', format('the run was lost by its supervisor %s times', v_row.deliveries)) END);
			RETURN QUERY SELECT v_item.eid, v_item.epoch, CASE WHEN v_row.cancel THEN 'cancelled' ELSE 'poison' END;
		ELSE
			RETURN QUERY SELECT v_item.eid, v_item.epoch, 'requeue'::text;
		END IF;
	END LOOP;
END $$;

-- End what is past its deadline: waiting ones at once, running ones after p_grace_ms, which their supervisor has to
-- end them itself. One that cannot be ended (its tenant's tables are damaged, say) stays and holds up no other: in a
-- random order such ones do not fill every call.
CREATE FUNCTION control.expire_overdue(p_grace_ms int, p_limit int)
RETURNS TABLE (eid uuid, tenant int, shard int, epoch int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_row control.dispatch;
BEGIN
	FOR v_row IN
		SELECT x.* FROM control.dispatch x WHERE x.deadline < now()
		  AND (x.state = 'Q' OR x.deadline < now() - make_interval(secs => p_grace_ms / 1000.0))
		ORDER BY random() LIMIT p_limit FOR UPDATE SKIP LOCKED LOOP
		BEGIN
			DELETE FROM control.dispatch d WHERE d.eid = v_row.eid;
			PERFORM control.terminal(v_row.tenant, v_row.eid, 'timeout', v_row.epoch, v_row.started_at, NULL,
				json_build_object('code', 'deadline', 'message', 'the execution did not end before its deadline'));
			RETURN QUERY SELECT v_row.eid, v_row.tenant, v_row.shard::int, v_row.epoch;
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING 'execution % of tenant % cannot be ended: %', v_row.eid, v_row.tenant, SQLERRM;
		END;
	END LOOP;
END $$;

-- Ask for the end of an execution, in a tenant's transaction. outcome: cancelled (it was waiting), cancelling,
-- or gone: there is no such execution in flight.
CREATE FUNCTION control.cancel(p_eid uuid) RETURNS TABLE (outcome text, shard int, gen bigint, sup text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_tenant int := control.tenant_of_role();
	v_row    control.dispatch;
	v_gen    bigint;
BEGIN
	UPDATE control.dispatch d SET cancel = true WHERE d.eid = p_eid AND d.tenant = v_tenant RETURNING d.* INTO v_row;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'gone'::text, 0, 0::bigint, ''::text;
		RETURN;
	END IF;
	SELECT s.gen INTO v_gen FROM control.shard s WHERE s.id = v_row.shard;
	IF v_row.state = 'Q' THEN
		DELETE FROM control.dispatch d WHERE d.eid = p_eid;
		PERFORM control.terminal(v_tenant, p_eid, 'cancelled', v_row.epoch, v_row.started_at, NULL, NULL);
		RETURN QUERY SELECT 'cancelled'::text, v_row.shard::int, v_gen, ''::text;
	ELSE
		RETURN QUERY SELECT 'cancelling'::text, v_row.shard::int, v_gen, v_row.sup;
	END IF;
END $$;

-- ---- scheduler -------------------------------------------------------------------------------------------

CREATE FUNCTION control.shards() RETURNS TABLE (id int, gen bigint, redis_run_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS
$$ SELECT id::int, gen, redis_run_id FROM control.shard ORDER BY id $$;

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

-- A page of the ledger in order of acceptance, for the sweeper (p_min_age_ms) and for a rebuild (0).
CREATE FUNCTION control.dispatch_page(p_shard int, p_after bigint, p_min_age_ms int, p_limit int)
RETURNS TABLE (eid uuid, tenant int, state "char", epoch int, sup text, seq bigint, cancel boolean, delay_ms bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT eid, tenant, state, epoch, sup, seq, cancel,
	       greatest(0, (extract(epoch FROM not_before - clock_timestamp()) * 1000))::bigint
	FROM control.dispatch
	WHERE shard = p_shard AND seq > p_after AND accepted_at < clock_timestamp() - make_interval(secs => p_min_age_ms / 1000.0)
	ORDER BY seq LIMIT p_limit
$$;

-- Weights and caps of fair scheduling, for the shard's tenants.
CREATE FUNCTION control.shard_quotas(p_shard int) RETURNS TABLE (tenant int, weight int, cap int, max_queued int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT q.tenant, q.weight, q.max_concurrent, q.max_queued FROM control.quota q WHERE q.tenant % 16 = p_shard
$$;

-- Throw away what nobody asks for any more.
CREATE FUNCTION control.janitor() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	DELETE FROM control.idem WHERE created < now() - interval '24 hours';
	DELETE FROM control.refresh_token WHERE expires_at < now() - interval '1 day';
	DELETE FROM control.tenant_day WHERE day < (now() AT TIME ZONE 'UTC')::date - 400;
$$;

-- ---- rights ----------------------------------------------------------------------------------------------

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.tenant_of_role(), control.flow_slot(), control.cancel(uuid),
	control.accept_batch(json) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.register(text, text, uuid, text, text), control.login_candidates(text, text),
	control.session_open(uuid, uuid, bytea, int), control.session_rotate(bytea, bytea, int),
	control.session_close(bytea), control.session_alive(uuid),
	control.start_batch(text, uuid[], int[], smallint[], bigint[]), control.flow_doc(int, bytea),
	control.finish_batch(uuid[], int[], text[], json[], json[]), control.release_batch(uuid[], int[]),
	control.fence_batch(uuid[], int[], int), control.expire_overdue(int, int), control.shards(),
	control.shard_renew(int, text), control.dispatch_page(int, bigint, int, int), control.shard_quotas(int),
	control.janitor() TO windlass_app;
