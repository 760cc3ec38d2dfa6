-- The functions that the programs call. Those with SECURITY DEFINER run with windlass_owner's rights; functions
-- meant for a tenant's transaction take the tenant from its role and never from an argument.
--
-- Errors that a caller tells apart have codes of their own:
--   WL404 no such thing   WL409 conflict   WL410 state forbids it   WL422 key reused with another body
--   WL429 over a quota (DETAIL is JSON: quota, limit, used, resets_at)
SET LOCAL ROLE windlass_owner;

-- ---- people ----------------------------------------------------------------------------------------

CREATE FUNCTION control.register(p_slug text, p_name text, p_user uuid, p_email text, p_password_hash text)
RETURNS TABLE (tenant int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id int;
BEGIN
	INSERT INTO control.tenant (slug, name) VALUES (p_slug, p_name)
	ON CONFLICT (slug) DO NOTHING RETURNING id INTO v_id;
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
	LIMIT 20
$$;

CREATE FUNCTION control.session_open(p_user uuid, p_family uuid, p_hash bytea, p_seconds int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	UPDATE control.app_user SET last_login = now() WHERE id = p_user;
	INSERT INTO control.refresh_token (hash, family, user_id, expires_at)
	VALUES (p_hash, p_family, p_user, now() + make_interval(secs => p_seconds));
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
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	WITH gone AS (
		UPDATE control.refresh_token SET revoked_at = coalesce(revoked_at, now())
		WHERE family = (SELECT family FROM control.refresh_token WHERE hash = p_hash) RETURNING 1)
	SELECT EXISTS (SELECT FROM gone)
$$;

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

-- Accept one execution: idempotency key, the tenant's row, the ledger's row, and last the quota, because its row
-- is held until commit. p_version: NULL the newest published one (else the draft where p_may_draft), 'draft',
-- or a number. replayed: the key was seen before with the same body; then nothing new was made.
CREATE FUNCTION control.accept(p_eid uuid, p_flow uuid, p_version text, p_may_draft boolean, p_inputs json,
                               p_labels jsonb, p_timeout_ms bigint, p_user uuid, p_idem text, p_req_hash bytea)
RETURNS TABLE (eid uuid, replayed boolean, tenant int, shard int, gen bigint, seq bigint, version int, quota int, used int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_tenant   int := control.tenant_of_role();
	v_shard    smallint := v_tenant % 16;
	v_deadline timestamptz := clock_timestamp() + make_interval(secs => p_timeout_ms / 1000.0);
	v_hash     bytea;
	v_version  int;
	v_seq      bigint;
	v_gen      bigint;
	v_limit    int;
	v_used     int;
	v_idem     control.idem;
BEGIN
	IF p_idem IS NOT NULL THEN
		INSERT INTO control.idem (tenant, key, req_hash, eid) VALUES (v_tenant, p_idem, p_req_hash, p_eid)
		ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT * INTO v_idem FROM control.idem i WHERE i.tenant = v_tenant AND i.key = p_idem;
			IF v_idem.req_hash IS DISTINCT FROM p_req_hash THEN
				RAISE EXCEPTION 'this Idempotency-Key was used with another body' USING ERRCODE = 'WL422';
			END IF;
			RETURN QUERY SELECT v_idem.eid, true, v_tenant, v_shard::int, 0::bigint, 0::bigint, NULL::int, 0, 0;
			RETURN;
		END IF;
	END IF;
	SELECT f.doc_hash, f.version INTO v_hash, v_version
	FROM control.flow_pick(v_tenant, p_flow, p_version, p_may_draft) f;
	EXECUTE format('INSERT INTO t_%s.executions (id, flow_id, version, doc_hash, user_id, deadline, labels, inputs)
	                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)', v_tenant)
	USING p_eid, p_flow, v_version, v_hash, p_user, v_deadline, p_labels, p_inputs;
	INSERT INTO control.dispatch (eid, tenant, shard, deadline, flow_id, doc_hash, inputs)
	VALUES (p_eid, v_tenant, v_shard, v_deadline, p_flow, v_hash,
	        CASE WHEN octet_length(p_inputs::text) <= 4096 THEN p_inputs END)
	RETURNING dispatch.seq INTO v_seq;
	SELECT s.gen INTO v_gen FROM control.shard s WHERE s.id = v_shard;
	SELECT q.max_executions_per_day INTO v_limit FROM control.quota q WHERE q.tenant = v_tenant;
	INSERT INTO control.tenant_day AS d (tenant, day, executions)
	SELECT v_tenant, (now() AT TIME ZONE 'UTC')::date, 1 WHERE v_limit > 0
	ON CONFLICT (tenant, day) DO UPDATE SET executions = d.executions + 1 WHERE d.executions < v_limit
	RETURNING executions INTO v_used;
	IF v_used IS NULL THEN
		RAISE EXCEPTION 'the tenant has used its executions of today' USING ERRCODE = 'WL429',
			DETAIL = json_build_object('quota', 'executions_per_day', 'limit', v_limit, 'used', v_limit,
			'resets_at', (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC')::text;
	END IF;
	RETURN QUERY SELECT p_eid, false, v_tenant, v_shard::int, v_gen, v_seq, v_version, v_limit, v_used;
END $$;

-- Which document an execution of a flow runs. Raises WL404 or WL410 (nothing published and no right to the draft).
CREATE FUNCTION control.flow_pick(p_tenant int, p_flow uuid, p_version text, p_may_draft boolean)
RETURNS TABLE (doc_hash bytea, version int)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_draft     bytea;
	v_published int;
	v_status    text;
BEGIN
	EXECUTE format('SELECT draft_hash, published, status FROM t_%s.flows WHERE id = $1 AND deleted_at IS NULL', p_tenant)
	INTO v_draft, v_published, v_status USING p_flow;
	IF v_draft IS NULL THEN
		RAISE EXCEPTION 'there is no such flow' USING ERRCODE = 'WL404';
	END IF;
	IF v_status = 'archived' THEN
		RAISE EXCEPTION 'an archived flow does not run' USING ERRCODE = 'WL410';
	END IF;
	IF p_version = 'draft' OR (p_version IS NULL AND v_published IS NULL) THEN
		IF NOT p_may_draft THEN
			RAISE EXCEPTION 'the flow has no published version, and running a draft takes the role editor'
				USING ERRCODE = 'WL410';
		END IF;
		RETURN QUERY SELECT v_draft, NULL::int;
		RETURN;
	END IF;
	RETURN QUERY EXECUTE format('SELECT doc_hash, version FROM t_%s.flow_versions WHERE flow_id = $1 AND version = $2',
	                            p_tenant) USING p_flow, coalesce(p_version::int, v_published);
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no such version of the flow' USING ERRCODE = 'WL404';
	END IF;
END $$;

-- ---- the life of an accepted execution: called by scheduler and supervisor ------------------------------

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
               deadline_ms bigint, deliveries int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
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
				(extract(epoch FROM v_row.deadline) * 1000)::bigint, v_row.deliveries::int;
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
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_item record;
	v_row  control.dispatch;
BEGIN
	FOR v_item IN SELECT * FROM unnest(p_eids, p_epochs, p_statuses, p_outputs, p_errors)
	              AS w(eid, epoch, status, outputs, error) ORDER BY 1 LOOP
		DELETE FROM control.dispatch d WHERE d.eid = v_item.eid AND d.state = 'R' AND d.epoch = v_item.epoch
		RETURNING d.* INTO v_row;
		IF FOUND THEN
			PERFORM control.terminal(v_row.tenant, v_row.eid, v_item.status, v_row.epoch, v_row.started_at,
			                         v_item.outputs, v_item.error);
			eid := v_item.eid;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;

-- Give started executions back, as a supervisor does when it drains: they wait again and count as no attempt.
-- Returns those that this call gave back.
CREATE FUNCTION control.release_batch(p_eids uuid[], p_epochs int[]) RETURNS TABLE (eid uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	UPDATE control.dispatch d SET state = 'Q', sup = ''
	FROM unnest(p_eids, p_epochs) AS w(eid, epoch)
	WHERE d.eid = w.eid AND d.state = 'R' AND d.epoch = w.epoch RETURNING d.eid
$$;

-- Fence attempts whose lease has expired, started or not, before their Redis slot is freed. outcome: requeue
-- (waits again, its delay is set), poison (failed for good here), cancelled (made terminal here), gone (no row),
-- newer (a later epoch holds it).
CREATE FUNCTION control.fence_batch(p_eids uuid[], p_epochs int[], p_max_deliveries int)
RETURNS TABLE (eid uuid, epoch int, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
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
-- end them itself.
CREATE FUNCTION control.expire_overdue(p_grace_ms int, p_limit int)
RETURNS TABLE (eid uuid, tenant int, shard int, epoch int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_row control.dispatch;
BEGIN
	FOR v_row IN
		DELETE FROM control.dispatch d WHERE d.eid IN (
			SELECT x.eid FROM control.dispatch x WHERE x.deadline < now()
			  AND (x.state = 'Q' OR x.deadline < now() - make_interval(secs => p_grace_ms / 1000.0))
			ORDER BY x.eid LIMIT p_limit FOR UPDATE SKIP LOCKED)
		RETURNING d.* LOOP
		PERFORM control.terminal(v_row.tenant, v_row.eid, 'timeout', v_row.epoch, v_row.started_at, NULL,
			json_build_object('code', 'deadline', 'message', 'the execution did not end before its deadline'));
		RETURN QUERY SELECT v_row.eid, v_row.tenant, v_row.shard::int, v_row.epoch;
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
	control.accept(uuid, uuid, text, boolean, json, jsonb, bigint, uuid, text, bytea) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.register(text, text, uuid, text, text), control.login_candidates(text, text),
	control.session_open(uuid, uuid, bytea, int), control.session_rotate(bytea, bytea, int),
	control.session_close(bytea), control.session_alive(uuid),
	control.start_batch(text, uuid[], int[], smallint[], bigint[]), control.flow_doc(int, bytea),
	control.finish_batch(uuid[], int[], text[], json[], json[]), control.release_batch(uuid[], int[]),
	control.fence_batch(uuid[], int[], int), control.expire_overdue(int, int), control.shards(),
	control.shard_renew(int, text), control.dispatch_page(int, bigint, int, int), control.shard_quotas(int),
	control.janitor() TO windlass_app;
