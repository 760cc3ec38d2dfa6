-- People, tenants, API keys, operators.
--
-- All of it lies in control: a person's tenant is a column there. What a tenant's transaction may see of it are views
-- (my_...) that filter by its role; what it may change, functions that take the tenant from its role.
SET LOCAL ROLE windlass_owner;

ALTER TABLE control.tenant
	ADD COLUMN billing_info json NOT NULL DEFAULT '{}',
	ADD COLUMN rev          int  NOT NULL DEFAULT 1,
	ADD COLUMN deleted_at   timestamptz,
	ADD COLUMN purge_at     timestamptz;
ALTER TABLE control.app_user ADD COLUMN preferences json NOT NULL DEFAULT '{}';

-- The key that seals a tenant's credentials, itself sealed (lib/secrets/seal.h). To purge it is to shred them.
CREATE TABLE control.tenant_key (
	tenant int PRIMARY KEY REFERENCES control.tenant,
	sealed text NOT NULL CHECK (length(sealed) BETWEEN 16 AND 200)
);

-- A login: its refresh tokens are the family. ended_at ends it whatever its tokens say.
CREATE TABLE control.session (
	family       uuid PRIMARY KEY,
	user_id      uuid NOT NULL REFERENCES control.app_user ON DELETE CASCADE,
	created_at   timestamptz NOT NULL DEFAULT now(),
	last_used_at timestamptz NOT NULL DEFAULT now(), -- its last refresh
	expires_at   timestamptz NOT NULL,
	ended_at     timestamptz,
	ip           text NOT NULL DEFAULT '',
	user_agent   text NOT NULL DEFAULT '' CHECK (length(user_agent) <= 200)
);
CREATE INDEX session_of_user ON control.session (user_id, last_used_at DESC);
CREATE INDEX session_expiry ON control.session (expires_at);
INSERT INTO control.session (family, user_id, created_at, last_used_at, expires_at, ended_at)
SELECT family, user_id, min(created_at), max(created_at), max(expires_at),
       CASE WHEN bool_or(revoked_at IS NOT NULL) THEN now() END
FROM control.refresh_token GROUP BY family, user_id;

-- Links. Their tokens are 256 random bits and kept as SHA-256.
CREATE TABLE control.invitation (
	id           uuid PRIMARY KEY,
	tenant       int  NOT NULL REFERENCES control.tenant,
	email        text NOT NULL,
	role         text NOT NULL CHECK (role IN ('admin', 'editor', 'executor', 'viewer')),
	hash         bytea NOT NULL UNIQUE,
	created_by   uuid REFERENCES control.app_user ON DELETE SET NULL,
	created_at   timestamptz NOT NULL DEFAULT now(),
	expires_at   timestamptz NOT NULL,
	accepted_at  timestamptz,
	withdrawn_at timestamptz
);
CREATE UNIQUE INDEX invitation_open ON control.invitation (tenant, lower(email))
	WHERE accepted_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX invitation_page ON control.invitation (tenant, created_at DESC, id);

CREATE TABLE control.password_reset (
	hash       bytea PRIMARY KEY,
	user_id    uuid NOT NULL REFERENCES control.app_user ON DELETE CASCADE,
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	used_at    timestamptz
);
CREATE INDEX password_reset_user ON control.password_reset (user_id);
CREATE INDEX password_reset_expiry ON control.password_reset (expires_at);

-- Who asked for a link, known or not: bounds the mails that somebody can have sent to an address, and makes both kinds
-- of asking cost the same.
CREATE TABLE control.reset_asked (
	id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	email text        NOT NULL,
	at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX reset_asked_email ON control.reset_asked (email, at);

CREATE TABLE control.api_key (
	id           uuid PRIMARY KEY,
	tenant       int  NOT NULL REFERENCES control.tenant,
	user_id      uuid NOT NULL REFERENCES control.app_user ON DELETE CASCADE,
	name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
	role         text NOT NULL CHECK (role IN ('admin', 'editor', 'executor', 'viewer')),
	hash         bytea NOT NULL UNIQUE,
	prefix       text NOT NULL,
	created_at   timestamptz NOT NULL DEFAULT now(),
	expires_at   timestamptz,
	last_used_at timestamptz,
	audited_at   timestamptz
) WITH (fillfactor = 70);
CREATE INDEX api_key_page ON control.api_key (tenant, created_at DESC, id);
CREATE INDEX api_key_user ON control.api_key (user_id);

-- Wrong passwords by e-mail address and where they came from, never by the e-mail address alone: else anybody could
-- keep its owner out. And the places that an account has logged in from, where a right password always counts.
CREATE TABLE control.password_failure (
	email    text NOT NULL,
	network  text NOT NULL,
	failures int  NOT NULL,
	last_at  timestamptz NOT NULL,
	PRIMARY KEY (email, network)
);
CREATE INDEX password_failure_age ON control.password_failure (last_at);
CREATE TABLE control.known_network (
	user_id uuid NOT NULL REFERENCES control.app_user ON DELETE CASCADE,
	network text NOT NULL,
	last_at timestamptz NOT NULL,
	PRIMARY KEY (user_id, network)
);

-- The platform's own people: of no tenant. A token of theirs names the family; a new one ends all tokens before it.
CREATE TABLE control.operator (
	id            uuid PRIMARY KEY,
	email         text NOT NULL CHECK (length(email) BETWEEN 3 AND 320),
	password_hash text NOT NULL,
	state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
	family        uuid NOT NULL,
	created_at    timestamptz NOT NULL DEFAULT now(),
	last_login    timestamptz
);
CREATE UNIQUE INDEX operator_email ON control.operator (lower(email));

-- Mail that waits to be sent by the schedulers; written with what it tells of. Gone once it is sent or of no use.
CREATE TABLE control.mail_outbox (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	tenant     int  NOT NULL,
	recipient  text NOT NULL CHECK (recipient ~ '^[!-;=?-~]{1,64}@[A-Za-z0-9.-]{1,255}$'),
	subject    text NOT NULL,
	body       text NOT NULL,
	link       text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	due        timestamptz NOT NULL DEFAULT now(),
	tries      int  NOT NULL DEFAULT 0
);
CREATE INDEX mail_outbox_due ON control.mail_outbox (due);

-- The way of a deleted tenant out of all stores (scheduler/chore_purge.c). The row stays as the proof.
CREATE TABLE control.tenant_purge (
	tenant      int PRIMARY KEY,
	step        text NOT NULL DEFAULT 'cancel' CHECK (step IN ('cancel', 'events', 'rows', 'stores', 'done')),
	due         timestamptz NOT NULL DEFAULT now(),
	at          uuid,             -- events: the execution up to which they are gone
	passes      int  NOT NULL DEFAULT 0, -- stores: how often they were looked through
	started_at  timestamptz NOT NULL DEFAULT now(),
	finished_at timestamptz
);
CREATE INDEX tenant_purge_due ON control.tenant_purge (due) WHERE step <> 'done';

-- ---- small words ---------------------------------------------------------------------------------------------

CREATE FUNCTION control.role_rank(p_role text) RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT array_position(ARRAY['viewer', 'executor', 'editor', 'admin'], p_role) $$;

CREATE FUNCTION control.lesser_role(p_a text, p_b text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN control.role_rank(p_a) < control.role_rank(p_b) THEN p_a ELSE p_b END $$;

CREATE FUNCTION control.token_hash(p_token text) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$ SELECT sha256(convert_to(p_token, 'UTF8')) $$;

-- WL403 with the reason when a tenant is suspended or deleted.
CREATE FUNCTION control.tenant_must_be_active(p_tenant int) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_state text := (SELECT state FROM control.tenant WHERE id = p_tenant);
BEGIN
	IF v_state IS DISTINCT FROM 'active' THEN
		RAISE EXCEPTION 'this tenant is %', coalesce(v_state, 'deleted') USING ERRCODE = 'WL403';
	END IF;
END $$;

CREATE FUNCTION control.my_tenant_key() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT sealed FROM control.tenant_key WHERE tenant = control.tenant_of_role()
$$;

-- The tenant's sealed key; p_fresh becomes it when there is none yet (tenants older than this table).
CREATE FUNCTION control.my_tenant_key_or(p_fresh text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	INSERT INTO control.tenant_key (tenant, sealed) VALUES (control.tenant_of_role(), p_fresh) ON CONFLICT DO NOTHING;
	RETURN (SELECT sealed FROM control.tenant_key WHERE tenant = control.tenant_of_role());
END $$;

CREATE FUNCTION control.tenant_key_of(p_tenant int) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT sealed FROM control.tenant_key WHERE tenant = p_tenant
$$;

-- p_actor of an operation without a token, once it is known who it is.
CREATE FUNCTION control.actor_is(p_actor json, p_tenant int, p_user uuid, p_role text) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT (coalesce(p_actor::jsonb, '{}') || jsonb_build_object('tenant', p_tenant, 'user', p_user, 'role', p_role))::json
$$;

-- An API key stands for programs: what makes or opens accounts and keys takes a person.
CREATE FUNCTION api.must_be_person(p_actor json, p_what text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_actor->>'key' IS NOT NULL THEN
		RAISE EXCEPTION 'an API key cannot %', p_what USING ERRCODE = 'WL403';
	END IF;
END $$;

-- ---- mail ------------------------------------------------------------------------------------------------------

-- A tenant's name as it stands in mails to people who may not know it: it stays in its line.
CREATE FUNCTION control.mail_name(p_name text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT regexp_replace(p_name, '[\u0001-\u001f\u007f-\u009f\u2028\u2029]', ' ', 'g') $$;

CREATE FUNCTION control.mail_put(p_tenant int, p_to text, p_subject text, p_body text, p_link text, p_expires timestamptz)
RETURNS void
LANGUAGE sql AS $$
	INSERT INTO control.mail_outbox (tenant, recipient, subject, body, link, expires_at)
	VALUES (p_tenant, p_to, p_subject, p_body, p_link, p_expires)
$$;

-- Mails to send now, {"limit"} at most: [{"id","to","subject","body","link","tries"}]. Each comes again after a
-- while unless mail_done() names it; several schedulers share them out. Those whose link has expired are dropped.
CREATE FUNCTION control.mail_take(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_taken json;
BEGIN
	DELETE FROM control.mail_outbox WHERE due <= clock_timestamp() AND expires_at <= clock_timestamp();
	WITH due AS MATERIALIZED (
		SELECT m.id FROM control.mail_outbox m WHERE m.due <= clock_timestamp() ORDER BY m.due
		LIMIT (p_request->>'limit')::int FOR UPDATE SKIP LOCKED),
	taken AS (
		UPDATE control.mail_outbox m SET tries = m.tries + 1,
		       due = clock_timestamp() + least(interval '10 s' * 2 ^ least(m.tries, 12), interval '4 hours')
		FROM due WHERE m.id = due.id RETURNING m.*)
	SELECT json_agg(json_build_object('id', t.id, 'to', t.recipient, 'subject', t.subject, 'body', t.body, 'link', t.link,
	                                  'tries', t.tries) ORDER BY t.id) INTO v_taken FROM taken t;
	RETURN coalesce(v_taken, '[]');
END $$;

-- Sent, or given up: {"ids"}.
CREATE FUNCTION control.mail_done(p_request json) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	DELETE FROM control.mail_outbox WHERE id IN (SELECT x::bigint FROM json_array_elements_text(p_request->'ids') x);
	SELECT NULL::json;
$$;

-- ---- logins ----------------------------------------------------------------------------------------------------

-- p_tokens: {"family","refresh" (SHA-256 in hex),"seconds","user_agent","network"}.
CREATE FUNCTION control.session_open(p_actor json, p_user uuid, p_tokens json) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_family  uuid := (p_tokens->>'family')::uuid;
	v_expires timestamptz := now() + make_interval(secs => (p_tokens->>'seconds')::int);
BEGIN
	UPDATE control.app_user SET last_login = now() WHERE id = p_user;
	INSERT INTO control.session (family, user_id, expires_at, ip, user_agent)
	VALUES (v_family, p_user, v_expires, coalesce(p_actor->>'ip', ''), left(coalesce(p_tokens->>'user_agent', ''), 200));
	INSERT INTO control.refresh_token (hash, family, user_id, expires_at)
	VALUES (decode(p_tokens->>'refresh', 'hex'), v_family, p_user, v_expires);
	INSERT INTO control.known_network (user_id, network, last_at) VALUES (p_user, p_tokens->>'network', now())
	ON CONFLICT (user_id, network) DO UPDATE SET last_at = now()
	WHERE known_network.last_at < now() - interval '1 day';
END $$;

-- End logins of a user: all, or all but one. Their refresh tokens need no change: a refresh asks the login, too.
CREATE FUNCTION control.sessions_end(p_user uuid, p_but uuid) RETURNS int
LANGUAGE sql AS $$
	WITH ended AS (UPDATE control.session SET ended_at = now()
	               WHERE user_id = p_user AND family IS DISTINCT FROM p_but AND ended_at IS NULL AND expires_at > now()
	               RETURNING 1)
	SELECT count(*)::int FROM ended
$$;

-- The user and tenant of an answer to a login.
CREATE FUNCTION control.login_body(p_user uuid) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('user', json_build_object('id', u.id, 'email', u.email, 'role', u.role),
	                         'tenant', json_build_object('id', t.id, 'slug', t.slug, 'name', t.name))
	FROM control.app_user u JOIN control.tenant t ON t.id = u.tenant WHERE u.id = p_user
$$;

-- The accounts that a login may mean: one row a tenant in which the address is known (p_slug NULL: all of them).
-- known: the account has logged in from that network before.
CREATE FUNCTION control.login_candidates(p_email text, p_slug text, p_network text)
RETURNS TABLE (user_id uuid, password_hash text, state text, known boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT u.id, u.password_hash, CASE WHEN t.state <> 'active' THEN t.state ELSE u.state END,
	       EXISTS (SELECT FROM control.known_network k WHERE k.user_id = u.id AND k.network = p_network)
	FROM control.app_user u JOIN control.tenant t ON t.id = u.tenant
	WHERE lower(u.email) = lower(p_email) AND (p_slug IS NULL OR t.slug = p_slug)
	ORDER BY (t.state = 'active' AND u.state = 'active') DESC, u.created_at, u.id LIMIT 20
$$;

-- Seconds until the next password for this address is looked at from there; 0: now. Ten are free, then each wrong one
-- doubles the wait, up to a quarter of an hour. An hour without any makes it forget.
CREATE FUNCTION control.login_wait(p_email text, p_network text) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT coalesce((
		SELECT greatest(0, ceil(extract(epoch FROM last_at - clock_timestamp())
		                        + least(2 ^ least(failures - 10, 10), 900)))::int
		FROM control.password_failure
		WHERE email = lower(p_email) AND network = p_network AND failures >= 10
		  AND last_at > clock_timestamp() - interval '1 hour'), 0)
$$;

-- A wrong password: {"email","network","users" (accounts it was meant for)}.
CREATE FUNCTION control.login_failed(p_actor json, p_request json) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	INSERT INTO control.password_failure AS f (email, network, failures, last_at)
	VALUES (lower(p_request->>'email'), p_request->>'network', 1, clock_timestamp())
	ON CONFLICT (email, network) DO UPDATE SET last_at = clock_timestamp(),
		failures = CASE WHEN f.last_at > clock_timestamp() - interval '1 hour' THEN least(f.failures + 1, 1000) ELSE 1 END;
	SELECT control.audit_for(u.tenant, control.actor_is(p_actor, u.tenant, NULL, NULL), 'auth.login_failed', 'user',
	                         u.id::text)
	FROM control.app_user u JOIN control.tenant t ON t.id = u.tenant
	WHERE u.id IN (SELECT x::uuid FROM json_array_elements_text(p_request->'users') x);
$$;

-- The end of a login whose password was right: {"user","hash" (that it was checked against), and p_tokens of
-- session_open}. The account is held: whoever changes its password or shuts it out waits, or is seen here.
CREATE FUNCTION api_public.auth_login(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_user control.app_user;
BEGIN
	SELECT * INTO v_user FROM control.app_user
	WHERE id = (p_request->>'user')::uuid AND password_hash = p_request->>'hash' FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'the e-mail address or the password is wrong' USING ERRCODE = 'WL401';
	END IF;
	PERFORM control.tenant_must_be_active(v_user.tenant);
	IF v_user.state <> 'active' THEN
		RAISE EXCEPTION 'this account is %', v_user.state USING ERRCODE = 'WL403';
	END IF;
	DELETE FROM control.password_failure WHERE email = lower(v_user.email) AND network = p_request->>'network';
	PERFORM control.session_open(p_actor, v_user.id, p_request);
	PERFORM control.audit_for(v_user.tenant, control.actor_is(p_actor, v_user.tenant, v_user.id, v_user.role),
	                          'auth.login', 'user', v_user.id::text);
	RETURN ROW(200, control.login_body(v_user.id), NULL, NULL, NULL)::api.answer;
END $$;

-- A tenant, its schema, role, key and first admin: {"user","hash","sealed_key", and p_tokens of session_open}.
CREATE FUNCTION api_public.auth_register(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_body   json := p_request->'body';
	v_user   uuid := (p_request->>'user')::uuid;
	v_tenant int;
	v_actor  json;
BEGIN
	SELECT r.tenant INTO v_tenant
	FROM control.register(v_body->>'tenant_slug', v_body->>'tenant_name', v_user, v_body->>'email', p_request->>'hash',
	                      p_request->>'local_model_url') r;
	INSERT INTO control.tenant_key (tenant, sealed) VALUES (v_tenant, p_request->>'sealed_key');
	PERFORM control.session_open(p_actor, v_user, p_request);
	v_actor := control.actor_is(p_actor, v_tenant, v_user, 'admin');
	PERFORM control.audit_for(v_tenant, v_actor, 'tenant.create', 'tenant', v_tenant::text,
		json_build_object('slug', v_body->>'tenant_slug', 'email', v_body->>'email'));
	RETURN ROW(201, json_build_object('tenant_id', v_tenant, 'user_id', v_user), NULL, NULL, NULL)::api.answer;
END $$;

-- Change a refresh token for a new one. outcome: ok, unknown, expired, ended (the login or the account), suspended or
-- deleted (the tenant), or reused: then the whole login ends.
CREATE FUNCTION control.session_rotate(p_old bytea, p_new bytea, p_seconds int, p_ip text, p_agent text)
RETURNS TABLE (outcome text, user_id uuid, tenant int, role text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_token   control.refresh_token;
	v_session control.session;
	v_user    control.app_user;
	v_state   text;
	v_expires timestamptz := now() + make_interval(secs => p_seconds);
BEGIN
	PERFORM control.session_lock(p_old);
	SELECT * INTO v_token FROM control.refresh_token WHERE hash = p_old FOR UPDATE;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'unknown', NULL::uuid, NULL::int, NULL::text;
		RETURN;
	END IF;
	-- whoever ends the login waits for this or is seen here
	SELECT * INTO v_session FROM control.session WHERE family = v_token.family FOR UPDATE;
	SELECT u.* INTO v_user FROM control.app_user u WHERE u.id = v_token.user_id;
	v_state := (SELECT state FROM control.tenant WHERE id = v_user.tenant);
	outcome := CASE WHEN v_token.used_at IS NOT NULL OR v_token.revoked_at IS NOT NULL THEN 'reused'
	                WHEN v_state <> 'active' THEN v_state
	                WHEN v_session.family IS NULL OR v_session.ended_at IS NOT NULL OR v_user.state <> 'active' THEN 'ended'
	                WHEN v_token.expires_at <= now() THEN 'expired' ELSE 'ok' END;
	IF outcome = 'reused' THEN
		UPDATE control.refresh_token SET revoked_at = coalesce(revoked_at, now()) WHERE family = v_token.family;
		UPDATE control.session SET ended_at = coalesce(ended_at, now()) WHERE family = v_token.family;
	ELSIF outcome = 'ok' THEN
		UPDATE control.refresh_token SET used_at = now() WHERE hash = p_old;
		INSERT INTO control.refresh_token (hash, family, user_id, expires_at)
		VALUES (p_new, v_token.family, v_user.id, v_expires);
		UPDATE control.session SET last_used_at = now(), expires_at = v_expires, ip = p_ip, user_agent = left(p_agent, 200)
		WHERE family = v_token.family;
	END IF;
	RETURN QUERY SELECT outcome, v_user.id, v_user.tenant, v_user.role;
END $$;

-- Log out: end the login of a refresh token. An unknown one is as good as an ended one.
CREATE FUNCTION api_public.auth_logout(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_hash bytea := decode(p_request->>'hash', 'hex');
	v_row  record;
BEGIN
	PERFORM control.session_lock(v_hash);
	UPDATE control.session s SET ended_at = now() FROM control.refresh_token r, control.app_user u
	WHERE r.hash = v_hash AND s.family = r.family AND s.ended_at IS NULL AND u.id = s.user_id
	RETURNING s.family, u.id, u.tenant, u.role INTO v_row;
	IF FOUND THEN
		UPDATE control.refresh_token SET revoked_at = coalesce(revoked_at, now()) WHERE family = v_row.family;
		PERFORM control.audit_for(v_row.tenant, control.actor_is(p_actor, v_row.tenant, v_row.id, v_row.role),
		                          'auth.logout', 'session', v_row.family::text);
	END IF;
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- What an access token's login is worth now. outcome: ok with the role that the account has today, ended, suspended or
-- deleted (the tenant).
CREATE FUNCTION control.session_check(p_family uuid) RETURNS TABLE (outcome text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT CASE WHEN t.state <> 'active' THEN t.state WHEN s.ended_at IS NOT NULL OR u.state <> 'active' THEN 'ended'
	            ELSE 'ok' END, u.role
	FROM control.session s JOIN control.app_user u ON u.id = s.user_id JOIN control.tenant t ON t.id = u.tenant
	WHERE s.family = p_family
$$;

-- The same of an API key, and whose it is: its role is never more than its owner's. expires: seconds since 1970, 0 never.
-- Writes once a minute when it was used, and once an hour to the audit log.
CREATE FUNCTION control.key_check(p_hash bytea, p_ip text, p_request_id text)
RETURNS TABLE (outcome text, id uuid, tenant int, user_id uuid, role text, expires bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_key   control.api_key;
	v_user  control.app_user;
	v_state text;
BEGIN
	SELECT * INTO v_key FROM control.api_key k WHERE k.hash = p_hash;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'ended', NULL::uuid, NULL::int, NULL::uuid, NULL::text, 0::bigint;
		RETURN;
	END IF;
	SELECT * INTO v_user FROM control.app_user u WHERE u.id = v_key.user_id;
	v_state := (SELECT t.state FROM control.tenant t WHERE t.id = v_key.tenant);
	role := control.lesser_role(v_key.role, v_user.role);
	outcome := CASE WHEN v_state <> 'active' THEN v_state
	                WHEN v_user.state <> 'active' OR v_key.expires_at <= clock_timestamp() THEN 'ended' ELSE 'ok' END;
	IF outcome = 'ok' THEN
		UPDATE control.api_key k SET last_used_at = clock_timestamp()
		WHERE k.id = v_key.id AND (k.last_used_at IS NULL OR k.last_used_at < clock_timestamp() - interval '1 minute');
		IF FOUND THEN
			UPDATE control.api_key k SET audited_at = clock_timestamp()
			WHERE k.id = v_key.id AND (k.audited_at IS NULL OR k.audited_at < clock_timestamp() - interval '1 hour');
			IF FOUND THEN
				PERFORM control.audit_for(v_key.tenant, json_build_object('tenant', v_key.tenant, 'user', v_user.id, 'role',
					role, 'key', v_key.id, 'ip', p_ip, 'request_id', p_request_id), 'api_key.use', 'api_key', v_key.id::text);
			END IF;
		END IF;
	END IF;
	RETURN QUERY SELECT outcome, v_key.id, v_key.tenant, v_user.id, role,
	                    coalesce(ceil(extract(epoch FROM v_key.expires_at)), 0)::bigint;
END $$;

-- Of these logins (families of sessions, ids of API keys) those that are over.
CREATE FUNCTION control.logins_ended(p_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT DISTINCT i FROM unnest(p_ids) i
	WHERE NOT EXISTS (SELECT FROM control.session s JOIN control.app_user u ON u.id = s.user_id
	                  JOIN control.tenant t ON t.id = u.tenant
	                  WHERE s.family = i AND s.ended_at IS NULL AND u.state = 'active' AND t.state = 'active')
	  AND NOT EXISTS (SELECT FROM control.api_key k JOIN control.app_user u ON u.id = k.user_id
	                  JOIN control.tenant t ON t.id = k.tenant
	                  WHERE k.id = i AND u.state = 'active' AND t.state = 'active'
	                    AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()))
$$;

-- ---- invitations -------------------------------------------------------------------------------------------------

-- The invitation of a link; WL404, WL410 or WL403 when it is of no use. Locked when p_hold.
CREATE FUNCTION control.invitation_of(p_token text, p_hold boolean) RETURNS control.invitation
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.invitation;
BEGIN
	IF p_hold THEN
		SELECT * INTO v_row FROM control.invitation WHERE hash = control.token_hash(p_token) FOR UPDATE;
	ELSE
		SELECT * INTO v_row FROM control.invitation WHERE hash = control.token_hash(p_token);
	END IF;
	IF v_row.id IS NULL THEN
		RAISE EXCEPTION 'there is no such invitation' USING ERRCODE = 'WL404';
	ELSIF v_row.accepted_at IS NOT NULL THEN
		RAISE EXCEPTION 'this invitation was accepted already' USING ERRCODE = 'WL410';
	ELSIF v_row.withdrawn_at IS NOT NULL THEN
		RAISE EXCEPTION 'this invitation was withdrawn or replaced by a newer one' USING ERRCODE = 'WL410';
	ELSIF v_row.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'this invitation has expired' USING ERRCODE = 'WL410';
	END IF;
	PERFORM control.tenant_must_be_active(v_row.tenant);
	RETURN v_row;
END $$;

CREATE FUNCTION api_public.auth_invitation_preview(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_row    control.invitation := control.invitation_of(p_request->'body'->>'token', false);
	v_tenant control.tenant;
BEGIN
	SELECT * INTO v_tenant FROM control.tenant WHERE id = v_row.tenant;
	RETURN ROW(200, json_build_object('email', v_row.email, 'role', v_row.role, 'tenant_name', v_tenant.name,
		'tenant_slug', v_tenant.slug, 'expires_at', api.time(v_row.expires_at)), NULL, NULL, NULL)::api.answer;
END $$;

-- Asked before a password is hashed for it; refuses as the accept would.
CREATE FUNCTION control.invitation_check(p_token text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	PERFORM control.invitation_of(p_token, false);
END $$;

-- {"user","hash", and p_tokens of session_open}.
CREATE FUNCTION api_public.auth_invitation_accept(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_row   control.invitation := control.invitation_of(p_request->'body'->>'token', true);
	v_user  uuid := (p_request->>'user')::uuid;
	v_actor json := control.actor_is(p_actor, v_row.tenant, v_user, v_row.role);
BEGIN
	INSERT INTO control.app_user (id, tenant, email, password_hash, role)
	VALUES (v_user, v_row.tenant, v_row.email, p_request->>'hash', v_row.role) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'this e-mail address has an account in this tenant already' USING ERRCODE = 'WL409';
	END IF;
	UPDATE control.invitation SET accepted_at = now() WHERE id = v_row.id;
	PERFORM control.session_open(p_actor, v_user, p_request);
	PERFORM control.audit_for(v_row.tenant, v_actor, 'invitation.accept', 'invitation', v_row.id::text,
		json_build_object('email', v_row.email, 'role', v_row.role, 'user_id', v_user));
	RETURN ROW(201, control.login_body(v_user), NULL, NULL, NULL)::api.answer;
END $$;

CREATE VIEW control.my_invitations WITH (security_barrier) AS
	SELECT id, email, role, created_by, created_at, expires_at, accepted_at, withdrawn_at,
	       CASE WHEN accepted_at IS NOT NULL THEN 'accepted' WHEN withdrawn_at IS NOT NULL THEN 'withdrawn'
	            WHEN expires_at <= now() THEN 'expired' ELSE 'open' END AS state
	FROM control.invitation WHERE tenant = control.tenant_of_role();

CREATE FUNCTION api.invitation_json(p_row control.my_invitations) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', p_row.id, 'email', p_row.email, 'role', p_row.role, 'state', p_row.state,
		'created_by', p_row.created_by, 'created_at', api.time(p_row.created_at), 'expires_at', api.time(p_row.expires_at))
$$;

CREATE FUNCTION api.invitations_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_page  int := (p_request->'params'->>'page')::int;
	v_limit int := (p_request->'params'->>'limit')::int;
	v_total bigint := (SELECT count(*) FROM control.my_invitations);
	v_rows  json;
BEGIN
	SELECT coalesce(json_agg(api.invitation_json(p.i)), '[]') INTO v_rows
	FROM (SELECT i FROM control.my_invitations i ORDER BY i.created_at DESC, i.id LIMIT v_limit
	      OFFSET (v_page - 1)::bigint * v_limit) p;
	RETURN ROW(200, json_build_object('invitations', v_rows, 'total', v_total,
		'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

-- p_request: {"id","token","link","seconds"} of the server.
CREATE FUNCTION control.invite(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant  control.tenant;
	v_email   text := p_request->'body'->>'email';
	v_role    text := p_request->'body'->>'role';
	v_expires timestamptz := now() + make_interval(secs => (p_request->>'seconds')::int);
BEGIN
	-- one at a time in a tenant: counting and replacing see each other
	SELECT * INTO v_tenant FROM control.tenant WHERE id = control.tenant_of_role() FOR NO KEY UPDATE;
	IF EXISTS (SELECT FROM control.app_user WHERE tenant = v_tenant.id AND lower(email) = lower(v_email)) THEN
		RAISE EXCEPTION 'this e-mail address has an account in this tenant already' USING ERRCODE = 'WL409';
	END IF;
	UPDATE control.invitation SET withdrawn_at = now()
	WHERE tenant = v_tenant.id AND lower(email) = lower(v_email) AND accepted_at IS NULL AND withdrawn_at IS NULL;
	DELETE FROM control.mail_outbox WHERE tenant = v_tenant.id AND lower(recipient) = lower(v_email);
	IF (SELECT count(*) FROM control.invitation WHERE tenant = v_tenant.id AND created_at > now() - interval '1 day')
	   >= 1000 THEN
		RAISE EXCEPTION 'this tenant has sent 1000 invitations within a day' USING ERRCODE = 'WL429',
			DETAIL = '{"resets_s": 3600}';
	END IF;
	INSERT INTO control.invitation (id, tenant, email, role, hash, created_by, expires_at)
	VALUES ((p_request->>'id')::uuid, v_tenant.id, v_email, v_role, control.token_hash(p_request->>'token'),
	        (p_actor->>'user')::uuid, v_expires);
	PERFORM control.mail_put(v_tenant.id, v_email, format('You are invited to %s on Windlass', control.mail_name(v_tenant.name)),
		format(E'Somebody has invited you to work in the tenant "%s" (%s) on Windlass, with the role %s.\n\n'
		       'Open this link to choose a password:\n\n%s\n\nIt is good once, until %s. '
		       'If you do not expect this, do nothing.\n', control.mail_name(v_tenant.name), v_tenant.slug, v_role,
		       p_request->>'link', api.time(v_expires)), p_request->>'link', v_expires);
	PERFORM control.audit(p_actor, 'invitation.create', 'invitation', p_request->>'id',
		json_build_object('email', v_email, 'role', v_role));
END $$;

CREATE FUNCTION api.invitations_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.my_invitations;
BEGIN
	PERFORM api.must_be_person(p_actor, 'invite people');
	PERFORM control.invite(p_actor, p_request);
	SELECT * INTO v_row FROM control.my_invitations WHERE id = (p_request->>'id')::uuid;
	RETURN ROW(201, json_build_object('invitation', api.invitation_json(v_row), 'token', p_request->>'token',
		'link', p_request->>'link'), NULL, '/api/v1/invitations/' || v_row.id, NULL)::api.answer;
END $$;

CREATE FUNCTION control.invitation_withdraw(p_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_email text;
BEGIN
	UPDATE control.invitation SET withdrawn_at = now()
	WHERE id = p_id AND tenant = control.tenant_of_role() AND accepted_at IS NULL AND withdrawn_at IS NULL
	RETURNING email INTO v_email;
	DELETE FROM control.mail_outbox WHERE tenant = control.tenant_of_role() AND lower(recipient) = lower(v_email);
	RETURN v_email;
END $$;

CREATE FUNCTION api.invitations_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id    uuid := (p_request->'params'->>'id')::uuid;
	v_email text := control.invitation_withdraw(v_id);
BEGIN
	IF v_email IS NULL THEN
		PERFORM api.missing('open invitation');
	END IF;
	PERFORM control.audit(p_actor, 'invitation.withdraw', 'invitation', v_id::text, json_build_object('email', v_email));
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- ---- passwords -------------------------------------------------------------------------------------------------

-- A link for each account of an address: {"tokens" (enough of them), "link" (what stands before a token), "seconds"}.
-- Three times an hour for one address; nothing tells whether it did anything.
CREATE FUNCTION api_public.auth_password_reset(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_email   text := lower(p_request->'body'->>'email');
	v_slug    text := p_request->'body'->>'tenant_slug';
	v_expires timestamptz := now() + make_interval(secs => (p_request->>'seconds')::int);
	v_link    text;
	v_token   text;
	v_row     record;
BEGIN
	PERFORM pg_advisory_xact_lock(7203, hashtext(v_email));
	INSERT INTO control.reset_asked (email) VALUES (v_email);
	IF (SELECT count(*) FROM control.reset_asked WHERE email = v_email AND at > clock_timestamp() - interval '1 hour') <= 3
	THEN
		FOR v_row IN
			SELECT u.id, u.email, u.tenant, t.name, t.slug, (row_number() OVER (ORDER BY u.created_at, u.id))::int - 1 AS place
			FROM control.app_user u JOIN control.tenant t ON t.id = u.tenant
			WHERE lower(u.email) = v_email AND (v_slug IS NULL OR t.slug = v_slug) AND u.state = 'active'
			  AND t.state = 'active'
			ORDER BY u.created_at, u.id LIMIT json_array_length(p_request->'tokens')
		LOOP
			v_token := p_request->'tokens'->>v_row.place;
			v_link := (p_request->>'link') || v_token;
			INSERT INTO control.password_reset (hash, user_id, expires_at)
			VALUES (control.token_hash(v_token), v_row.id, v_expires);
			PERFORM control.mail_put(v_row.tenant, v_row.email, 'A new password for Windlass',
				format(E'Somebody has asked for a new password of your account in the tenant "%s" (%s) on Windlass.\n\n'
				       'Open this link to choose one:\n\n%s\n\nIt is good once, until %s. '
				       'If you did not ask for this, do nothing.\n', control.mail_name(v_row.name), v_row.slug, v_link,
				       api.time(v_expires)),
				v_link, v_expires);
			PERFORM control.audit_for(v_row.tenant, control.actor_is(p_actor, v_row.tenant, NULL, NULL),
				'auth.password_reset_asked', 'user', v_row.id::text);
		END LOOP;
	END IF;
	RETURN ROW(202, NULL, NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION control.password_reset_of(p_token text, p_hold boolean) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_row  control.password_reset;
	v_user control.app_user;
BEGIN
	IF p_hold THEN
		SELECT * INTO v_row FROM control.password_reset WHERE hash = control.token_hash(p_token) FOR UPDATE;
	ELSE
		SELECT * INTO v_row FROM control.password_reset WHERE hash = control.token_hash(p_token);
	END IF;
	IF v_row.hash IS NULL THEN
		RAISE EXCEPTION 'there is no such link' USING ERRCODE = 'WL404';
	ELSIF v_row.used_at IS NOT NULL THEN
		RAISE EXCEPTION 'this link was used already' USING ERRCODE = 'WL410';
	ELSIF v_row.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'this link has expired' USING ERRCODE = 'WL410';
	END IF;
	SELECT * INTO v_user FROM control.app_user WHERE id = v_row.user_id;
	PERFORM control.tenant_must_be_active(v_user.tenant);
	IF v_user.state <> 'active' THEN
		RAISE EXCEPTION 'this account is %', v_user.state USING ERRCODE = 'WL403';
	END IF;
	RETURN v_row.user_id;
END $$;

CREATE FUNCTION control.password_reset_check(p_token text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	PERFORM control.password_reset_of(p_token, false);
END $$;

-- {"hash"}. All logins end, and all other links of the account.
CREATE FUNCTION api_public.auth_password_reset_confirm(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id   uuid := control.password_reset_of(p_request->'body'->>'token', true);
	v_user control.app_user;
BEGIN
	UPDATE control.app_user SET password_hash = p_request->>'hash' WHERE id = v_id RETURNING * INTO v_user;
	UPDATE control.password_reset SET used_at = now() WHERE user_id = v_id AND used_at IS NULL;
	PERFORM control.sessions_end(v_id, NULL);
	PERFORM control.audit_for(v_user.tenant, control.actor_is(p_actor, v_user.tenant, v_id, v_user.role),
	                          'auth.password_reset', 'user', v_id::text);
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- The hash to check a user's present password against.
CREATE FUNCTION control.password_of(p_user uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT password_hash FROM control.app_user WHERE id = p_user AND state = 'active'
$$;

CREATE FUNCTION control.password_set(p_actor json, p_old text, p_new text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_user uuid := (p_actor->>'user')::uuid;
BEGIN
	UPDATE control.app_user SET password_hash = p_new
	WHERE id = v_user AND tenant = control.tenant_of_role() AND password_hash = p_old AND state = 'active';
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	UPDATE control.password_reset SET used_at = now() WHERE user_id = v_user AND used_at IS NULL;
	PERFORM control.sessions_end(v_user, (p_actor->>'family')::uuid);
	RETURN true;
END $$;

-- {"old_hash" (which the present password was checked against), "hash"}
CREATE FUNCTION api.auth_password_change(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM api.must_be_person(p_actor, 'change a password');
	IF NOT control.password_set(p_actor, p_request->>'old_hash', p_request->>'hash') THEN
		RAISE EXCEPTION 'the password was changed by somebody else at the same time' USING ERRCODE = 'WL409';
	END IF;
	PERFORM control.audit(p_actor, 'auth.password_change', 'user', p_actor->>'user');
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- ---- people ----------------------------------------------------------------------------------------------------

CREATE VIEW control.my_users WITH (security_barrier) AS
	SELECT id, email, role, state, preferences, created_at, last_login
	FROM control.app_user WHERE tenant = control.tenant_of_role();
CREATE VIEW control.my_tenant WITH (security_barrier) AS
	SELECT id, slug, name, state, settings, billing_info, rev, created_at, purge_at
	FROM control.tenant WHERE id = control.tenant_of_role();
CREATE VIEW control.my_sessions WITH (security_barrier) AS
	SELECT s.family, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.ip, s.user_agent
	FROM control.session s JOIN control.app_user u ON u.id = s.user_id
	WHERE u.tenant = control.tenant_of_role() AND s.ended_at IS NULL AND s.expires_at > now();
CREATE VIEW control.my_api_keys WITH (security_barrier) AS
	SELECT id, name, role, user_id, prefix, created_at, expires_at, last_used_at
	FROM control.api_key WHERE tenant = control.tenant_of_role();

CREATE FUNCTION api.user_json(p_row control.my_users) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', p_row.id, 'email', p_row.email, 'role', p_row.role, 'state', p_row.state,
		'preferences', p_row.preferences, 'created_at', api.time(p_row.created_at), 'last_login', api.time(p_row.last_login))
$$;

CREATE FUNCTION api.tenant_json(p_row control.my_tenant, p_billing boolean) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT (json_build_object('id', p_row.id, 'slug', p_row.slug, 'name', p_row.name, 'state', p_row.state,
		'settings', p_row.settings, 'created_at', api.time(p_row.created_at), 'purge_at', api.time(p_row.purge_at))::jsonb
		|| CASE WHEN p_billing THEN jsonb_build_object('billing_info', p_row.billing_info) ELSE '{}' END)::json
$$;

CREATE FUNCTION api.me_answer(p_actor json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_user   control.my_users;
	v_tenant control.my_tenant;
	v_key    json;
BEGIN
	SELECT * INTO v_user FROM control.my_users WHERE id = (p_actor->>'user')::uuid;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'this account is gone' USING ERRCODE = 'WL401';
	END IF;
	SELECT * INTO v_tenant FROM control.my_tenant;
	SELECT json_build_object('id', k.id, 'name', k.name) INTO v_key
	FROM control.my_api_keys k WHERE k.id = (p_actor->>'key')::uuid;
	RETURN ROW(200, json_build_object('user', api.user_json(v_user),
		'tenant', api.tenant_json(v_tenant, p_actor->>'role' = 'admin'), 'role', p_actor->>'role', 'api_key', v_key),
		NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.auth_me_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql STABLE AS $$ SELECT api.me_answer(p_actor) $$;

CREATE FUNCTION control.preferences_set(p_user uuid, p_preferences json) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	UPDATE control.app_user SET preferences = p_preferences WHERE id = p_user AND tenant = control.tenant_of_role()
$$;

-- What people keep with us for their own use has a bound.
CREATE FUNCTION api.check_size(p_value json, p_path text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF octet_length(p_value::text) > 65536 THEN
		PERFORM api.refuse('WL400', 'a value is too large', p_path, 'has more than 65536 bytes');
	END IF;
END $$;

CREATE FUNCTION api.auth_me_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM api.check_size(p_request->'body'->'preferences', 'preferences');
	PERFORM control.preferences_set((p_actor->>'user')::uuid, p_request->'body'->'preferences');
	RETURN api.me_answer(p_actor);
END $$;

CREATE FUNCTION api.auth_sessions_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_rows json;
BEGIN
	PERFORM api.must_be_person(p_actor, 'see logins');
	SELECT coalesce(json_agg(json_build_object('id', s.family, 'current', s.family = (p_actor->>'family')::uuid,
		'created_at', api.time(s.created_at), 'last_used_at', api.time(s.last_used_at), 'ip', s.ip,
		'user_agent', s.user_agent, 'expires_at', api.time(s.expires_at))), '[]') INTO v_rows
	FROM (SELECT * FROM control.my_sessions WHERE user_id = (p_actor->>'user')::uuid
	      ORDER BY last_used_at DESC, family LIMIT 200) s;
	RETURN ROW(200, json_build_object('sessions', v_rows), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION control.session_end(p_user uuid, p_family uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	UPDATE control.session s SET ended_at = now() FROM control.app_user u
	WHERE s.family = p_family AND s.user_id = p_user AND u.id = p_user AND u.tenant = control.tenant_of_role()
	  AND s.ended_at IS NULL AND s.expires_at > now();
	RETURN FOUND;
END $$;

CREATE FUNCTION api.auth_sessions_revoke(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid := (p_request->'params'->>'id')::uuid;
BEGIN
	PERFORM api.must_be_person(p_actor, 'end logins');
	IF NOT control.session_end((p_actor->>'user')::uuid, v_id) THEN
		PERFORM api.missing('login');
	END IF;
	PERFORM control.audit(p_actor, 'session.revoke', 'session', v_id::text);
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.users_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_params json := p_request->'params';
	v_page   int := (v_params->>'page')::int;
	v_limit  int := (v_params->>'limit')::int;
	v_search text := lower(v_params->>'search');
	v_role   text := v_params->>'role';
	v_state  text := v_params->>'state';
	v_total  bigint;
	v_rows   json;
BEGIN
	SELECT count(*) INTO v_total FROM control.my_users u
	WHERE (v_search IS NULL OR position(v_search IN lower(u.email)) > 0) AND (v_role IS NULL OR u.role = v_role)
	  AND (v_state IS NULL OR u.state = v_state);
	SELECT coalesce(json_agg(api.user_json(p.u)), '[]') INTO v_rows FROM (
		SELECT u FROM control.my_users u
		WHERE (v_search IS NULL OR position(v_search IN lower(u.email)) > 0) AND (v_role IS NULL OR u.role = v_role)
		  AND (v_state IS NULL OR u.state = v_state)
		ORDER BY lower(u.email), u.id LIMIT v_limit OFFSET (v_page - 1)::bigint * v_limit) p;
	RETURN ROW(200, json_build_object('users', v_rows, 'total', v_total,
		'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.user_answer(p_id uuid) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_user control.my_users;
BEGIN
	SELECT * INTO v_user FROM control.my_users WHERE id = p_id;
	IF NOT FOUND THEN
		PERFORM api.missing('user');
	END IF;
	RETURN ROW(200, json_build_object('user', api.user_json(v_user)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.users_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql STABLE AS $$ SELECT api.user_answer((p_request->'params'->>'id')::uuid) $$;

-- The user before it is changed, with the tenant held: of two calls at once that take an admin away the second one sees
-- what the first one did. WL409 when p_role and p_state would leave the tenant without an active admin.
CREATE FUNCTION control.user_hold(p_id uuid, p_role text, p_state text) RETURNS control.app_user
LANGUAGE plpgsql AS $$
DECLARE
	v_tenant int := control.tenant_of_role();
	v_user   control.app_user;
BEGIN
	PERFORM FROM control.tenant WHERE id = v_tenant FOR NO KEY UPDATE;
	SELECT * INTO v_user FROM control.app_user WHERE id = p_id AND tenant = v_tenant FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing('user');
	END IF;
	IF v_user.role = 'admin' AND v_user.state = 'active'
	   AND NOT (coalesce(p_role, v_user.role) = 'admin' AND coalesce(p_state, v_user.state) = 'active')
	   AND NOT EXISTS (SELECT FROM control.app_user WHERE tenant = v_tenant AND role = 'admin' AND state = 'active'
	                   AND id <> p_id) THEN
		RAISE EXCEPTION 'this is the last active admin of the tenant' USING ERRCODE = 'WL409';
	END IF;
	RETURN v_user;
END $$;

CREATE FUNCTION control.user_update(p_actor json, p_id uuid, p_role text, p_state text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_user control.app_user := control.user_hold(p_id, p_role, p_state);
BEGIN
	UPDATE control.app_user SET role = coalesce(p_role, v_user.role), state = coalesce(p_state, v_user.state)
	WHERE id = p_id;
	IF p_state = 'disabled' THEN
		PERFORM control.sessions_end(p_id, NULL);
	END IF;
	PERFORM control.audit(p_actor, 'user.update', 'user', p_id::text, json_build_object('email', v_user.email,
		'role', json_build_array(v_user.role, coalesce(p_role, v_user.role)),
		'state', json_build_array(v_user.state, coalesce(p_state, v_user.state))));
END $$;

CREATE FUNCTION api.users_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid := (p_request->'params'->>'id')::uuid;
BEGIN
	-- as an invitation: who gets in, and as what, is decided by people; a key may only take away by disabling
	IF p_request->'body'->>'role' IS NOT NULL OR p_request->'body'->>'state' = 'active' THEN
		PERFORM api.must_be_person(p_actor, 'change roles or enable accounts');
	END IF;
	PERFORM control.user_update(p_actor, v_id, p_request->'body'->>'role', p_request->'body'->>'state');
	RETURN api.user_answer(v_id);
END $$;

CREATE FUNCTION control.user_delete(p_actor json, p_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_user control.app_user := control.user_hold(p_id, NULL, 'disabled');
BEGIN
	DELETE FROM control.app_user WHERE id = p_id;
	PERFORM control.chat_drop_user(v_user.tenant, p_id);
	PERFORM control.audit(p_actor, 'user.delete', 'user', p_id::text,
		json_build_object('email', v_user.email, 'role', v_user.role));
END $$;

CREATE FUNCTION api.users_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM control.user_delete(p_actor, (p_request->'params'->>'id')::uuid);
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION control.user_sessions_end(p_actor json, p_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	PERFORM FROM control.app_user WHERE id = p_id AND tenant = control.tenant_of_role();
	IF NOT FOUND THEN
		PERFORM api.missing('user');
	END IF;
	PERFORM control.audit(p_actor, 'user.sessions_revoke', 'user', p_id::text,
		json_build_object('ended', control.sessions_end(p_id, NULL)));
END $$;

CREATE FUNCTION api.users_sessions_revoke(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM control.user_sessions_end(p_actor, (p_request->'params'->>'id')::uuid);
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- ---- API keys --------------------------------------------------------------------------------------------------

CREATE FUNCTION api.api_key_json(p_row control.my_api_keys) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', p_row.id, 'name', p_row.name, 'role', p_row.role, 'user_id', p_row.user_id,
		'prefix', p_row.prefix, 'created_at', api.time(p_row.created_at), 'expires_at', api.time(p_row.expires_at),
		'last_used_at', api.time(p_row.last_used_at))
$$;

CREATE FUNCTION api.api_keys_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_page  int := (p_request->'params'->>'page')::int;
	v_limit int := (p_request->'params'->>'limit')::int;
	v_whose uuid := CASE WHEN p_actor->>'role' <> 'admin' THEN (p_actor->>'user')::uuid END; -- NULL: everybody's
	v_total bigint;
	v_rows  json;
BEGIN
	SELECT count(*) INTO v_total FROM control.my_api_keys WHERE v_whose IS NULL OR user_id = v_whose;
	SELECT coalesce(json_agg(api.api_key_json(p.k)), '[]') INTO v_rows
	FROM (SELECT k FROM control.my_api_keys k WHERE v_whose IS NULL OR k.user_id = v_whose
	      ORDER BY k.created_at DESC, k.id LIMIT v_limit OFFSET (v_page - 1)::bigint * v_limit) p;
	RETURN ROW(200, json_build_object('api_keys', v_rows, 'total', v_total,
		'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION control.api_key_add(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_body json := p_request->'body';
	v_user control.app_user;
BEGIN
	SELECT * INTO v_user FROM control.app_user
	WHERE id = (p_actor->>'user')::uuid AND tenant = control.tenant_of_role() AND state = 'active' FOR NO KEY UPDATE;
	IF NOT FOUND OR control.role_rank(v_body->>'role') > control.role_rank(v_user.role) THEN
		RAISE EXCEPTION 'the role of a key is at most your own' USING ERRCODE = 'WL403';
	END IF;
	IF (SELECT count(*) FROM control.api_key WHERE user_id = v_user.id) >= 100 THEN
		RAISE EXCEPTION 'an account has at most 100 API keys' USING ERRCODE = 'WL409';
	END IF;
	INSERT INTO control.api_key (id, tenant, user_id, name, role, hash, prefix, expires_at)
	VALUES ((p_request->>'id')::uuid, v_user.tenant, v_user.id, v_body->>'name', v_body->>'role',
	        control.token_hash(p_request->>'key'), left(p_request->>'key', 12),
	        api.read_time(v_body->>'expires_at', 'expires_at'));
	PERFORM control.audit(p_actor, 'api_key.create', 'api_key', p_request->>'id',
		json_build_object('name', v_body->>'name', 'role', v_body->>'role', 'expires_at', v_body->>'expires_at'));
END $$;

-- {"id","key"} of the server.
CREATE FUNCTION api.api_keys_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.my_api_keys;
BEGIN
	PERFORM api.must_be_person(p_actor, 'make API keys');
	IF api.read_time(p_request->'body'->>'expires_at', 'expires_at') <= now() THEN
		PERFORM api.refuse('WL422', 'the key would have expired already', 'expires_at', 'is not in the future');
	END IF;
	PERFORM control.api_key_add(p_actor, p_request);
	SELECT * INTO v_row FROM control.my_api_keys WHERE id = (p_request->>'id')::uuid;
	RETURN ROW(201, json_build_object('api_key', api.api_key_json(v_row), 'key', p_request->>'key'), NULL,
		'/api/v1/api-keys/' || v_row.id, NULL)::api.answer;
END $$;

CREATE FUNCTION control.api_key_drop(p_id uuid, p_user uuid) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	DELETE FROM control.api_key WHERE id = p_id AND tenant = control.tenant_of_role() AND (p_user IS NULL OR user_id = p_user)
	RETURNING json_build_object('name', name, 'user_id', user_id)
$$;

CREATE FUNCTION api.api_keys_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id    uuid := (p_request->'params'->>'id')::uuid;
	v_whose uuid := CASE WHEN p_actor->>'role' <> 'admin' THEN (p_actor->>'user')::uuid END;
	v_key   json;
BEGIN
	IF p_actor->>'key' IS DISTINCT FROM v_id::text THEN -- a program may give its own key back
		PERFORM api.must_be_person(p_actor, 'revoke other API keys');
	END IF;
	v_key := control.api_key_drop(v_id, v_whose);
	IF v_key IS NULL THEN
		PERFORM api.missing('API key');
	END IF;
	PERFORM control.audit(p_actor, 'api_key.delete', 'api_key', v_id::text, v_key);
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- ---- tenants ---------------------------------------------------------------------------------------------------

CREATE FUNCTION api.tenant_answer(p_actor json, p_status int) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row control.my_tenant;
BEGIN
	SELECT * INTO v_row FROM control.my_tenant;
	RETURN ROW(p_status, json_build_object('tenant', api.tenant_json(v_row, p_actor->>'role' = 'admin')), v_row.rev::text,
		NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.tenants_current_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql STABLE AS $$ SELECT api.tenant_answer(p_actor, 200) $$;

CREATE FUNCTION control.tenant_update(p_actor json, p_match text, p_body json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_old control.tenant;
BEGIN
	SELECT * INTO v_old FROM control.tenant WHERE id = control.tenant_of_role() FOR NO KEY UPDATE;
	PERFORM api.check_match(p_match, v_old.rev, 'tenant');
	UPDATE control.tenant SET name = coalesce(p_body->>'name', name), settings = coalesce(p_body->'settings', settings),
	       billing_info = coalesce(p_body->'billing_info', billing_info), rev = rev + 1
	WHERE id = v_old.id;
	PERFORM control.audit(p_actor, 'tenant.update', 'tenant', v_old.id::text,
		json_build_object('changed', (SELECT json_agg(k) FROM json_object_keys(p_body) k)));
END $$;

CREATE FUNCTION api.tenants_current_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_body json := p_request->'body';
BEGIN
	PERFORM api.check_size(v_body->'settings', 'settings'), api.check_size(v_body->'billing_info', 'billing_info');
	PERFORM control.tenant_update(p_actor, p_request->'params'->>'If-Match', v_body);
	RETURN api.tenant_answer(p_actor, 200);
END $$;

-- Softly: nothing of the tenant works any more, and the schedulers cancel its work. Purged after p_grace_s seconds.
CREATE FUNCTION control.tenant_delete_for(p_actor json, p_tenant int, p_grace_s int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_tenant control.tenant;
BEGIN
	SELECT * INTO v_tenant FROM control.tenant WHERE id = p_tenant FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing('tenant');
	ELSIF v_tenant.state = 'deleted' THEN
		RAISE EXCEPTION 'this tenant is deleted already' USING ERRCODE = 'WL409';
	END IF;
	UPDATE control.tenant SET state = 'deleted', rev = rev + 1, deleted_at = now(),
	       purge_at = now() + make_interval(secs => p_grace_s) WHERE id = p_tenant;
	UPDATE control.session s SET ended_at = now() FROM control.app_user u
	WHERE u.tenant = p_tenant AND s.user_id = u.id AND s.ended_at IS NULL;
	UPDATE control.invitation SET withdrawn_at = now()
	WHERE tenant = p_tenant AND accepted_at IS NULL AND withdrawn_at IS NULL;
	DELETE FROM control.mail_outbox WHERE tenant = p_tenant;
	INSERT INTO control.tenant_purge (tenant) VALUES (p_tenant);
	PERFORM control.audit_for(p_tenant, p_actor, 'tenant.delete', 'tenant', p_tenant::text,
		json_build_object('slug', v_tenant.slug));
END $$;

CREATE FUNCTION control.tenant_delete(p_actor json, p_grace_s int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT control.tenant_delete_for(p_actor, control.tenant_of_role(), p_grace_s)
$$;

-- {"grace_s"} of the server.
CREATE FUNCTION api.tenants_current_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_confirm text := p_request->'params'->>'confirm';
BEGIN
	PERFORM api.must_be_person(p_actor, 'delete the tenant');
	IF v_confirm IS NULL THEN
		PERFORM api.refuse('WL400', 'a parameter is missing', 'confirm', 'must repeat the slug of the tenant');
	ELSIF v_confirm <> (SELECT slug FROM control.my_tenant) THEN
		RAISE EXCEPTION 'confirm is not the slug of this tenant' USING ERRCODE = 'WL409';
	END IF;
	PERFORM control.tenant_delete(p_actor, (p_request->>'grace_s')::int);
	RETURN api.tenant_answer(p_actor, 202);
END $$;

-- ---- operators -------------------------------------------------------------------------------------------------

CREATE FUNCTION control.operator_candidate(p_email text) RETURNS TABLE (id uuid, password_hash text, state text, family uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT id, password_hash, state, family FROM control.operator WHERE lower(email) = lower(p_email)
$$;

CREATE FUNCTION control.operator_logged_in(p_id uuid, p_email text, p_network text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	UPDATE control.operator SET last_login = now() WHERE id = p_id;
	DELETE FROM control.password_failure WHERE email = lower(p_email) AND network = p_network;
$$;

CREATE FUNCTION control.operator_check(p_id uuid, p_family uuid) RETURNS TABLE (outcome text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT 'ok', 'operator' FROM control.operator WHERE id = p_id AND family = p_family AND state = 'active'
$$;

-- Make an operator, or give a known one a new password: all tokens from before end. For `make operator`.
CREATE FUNCTION control.operator_put(p_email text, p_password_hash text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	v_made boolean;
BEGIN
	INSERT INTO control.operator AS o (id, email, password_hash, family)
	VALUES (gen_random_uuid(), p_email, p_password_hash, gen_random_uuid())
	ON CONFLICT (lower(email)) DO UPDATE SET password_hash = p_password_hash, family = gen_random_uuid(), state = 'active'
	RETURNING xmax = 0 INTO v_made;
	RETURN CASE WHEN v_made THEN 'made' ELSE 'changed' END;
END $$;

CREATE FUNCTION api_operator.operator_tenants_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_params json := p_request->'params';
	v_page   int := (v_params->>'page')::int;
	v_limit  int := (v_params->>'limit')::int;
	v_search text := lower(v_params->>'search');
	v_state  text := v_params->>'state';
	v_total  bigint;
	v_rows   json;
BEGIN
	SELECT count(*) INTO v_total FROM control.tenant t
	WHERE (v_search IS NULL OR position(v_search IN t.slug) > 0 OR position(v_search IN lower(t.name)) > 0)
	  AND (v_state IS NULL OR t.state = v_state);
	SELECT coalesce(json_agg(control.operator_tenant_json(p.t)), '[]') INTO v_rows FROM (
		SELECT t FROM control.tenant t
		WHERE (v_search IS NULL OR position(v_search IN t.slug) > 0 OR position(v_search IN lower(t.name)) > 0)
		  AND (v_state IS NULL OR t.state = v_state)
		ORDER BY t.id LIMIT v_limit OFFSET (v_page - 1)::bigint * v_limit) p;
	RETURN ROW(200, json_build_object('tenants', v_rows, 'total', v_total,
		'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api_operator.operator_tenants_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	RETURN control.operator_tenant_answer((p_request->'params'->>'tenant_id')::int, 200);
END $$;

-- Suspend, or take back what was suspended or deleted. What is being purged cannot be had back.
CREATE FUNCTION control.tenant_state_set(p_actor json, p_tenant control.tenant, p_state text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_step text;
BEGIN
	IF p_tenant.state = p_state THEN
		RETURN;
	ELSIF p_tenant.state = 'deleted' AND p_state <> 'active' THEN
		RAISE EXCEPTION 'this tenant is deleted' USING ERRCODE = 'WL409';
	ELSIF p_tenant.state = 'deleted' THEN
		SELECT step INTO v_step FROM control.tenant_purge WHERE tenant = p_tenant.id FOR UPDATE;
		IF v_step <> 'cancel' THEN
			RAISE EXCEPTION 'this tenant is being purged' USING ERRCODE = 'WL409';
		END IF;
		DELETE FROM control.tenant_purge WHERE tenant = p_tenant.id;
	END IF;
	UPDATE control.tenant SET state = p_state, deleted_at = NULL, purge_at = NULL, rev = rev + 1 WHERE id = p_tenant.id;
	PERFORM control.audit_for(p_tenant.id, p_actor,
		CASE WHEN p_state = 'suspended' THEN 'tenant.suspend' ELSE 'tenant.restore' END, 'tenant', p_tenant.id::text,
		json_build_object('state', json_build_array(p_tenant.state, p_state)));
END $$;

CREATE FUNCTION api_operator.operator_tenants_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id     int := (p_request->'params'->>'tenant_id')::int;
	v_body   json := p_request->'body';
	v_limits json := (coalesce((v_body->'quotas')::jsonb, '{}') || CASE WHEN v_body->>'plan' IS NULL THEN '{}'
	                  ELSE jsonb_build_object('plan', v_body->>'plan') END)::json;
	v_row    control.tenant;
BEGIN
	SELECT * INTO v_row FROM control.tenant WHERE id = v_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing('tenant');
	END IF;
	IF v_body->>'state' IS NOT NULL THEN
		PERFORM control.tenant_state_set(p_actor, v_row, v_body->>'state');
	END IF;
	IF v_limits::text <> '{}' THEN
		EXECUTE 'SELECT control.quota_set($1, $2)' USING v_id, v_limits;
		PERFORM control.audit_for(v_id, p_actor, 'tenant.limits', 'tenant', v_id::text, v_limits);
	END IF;
	RETURN control.operator_tenant_answer(v_id, 200);
END $$;

-- {"grace_s"} of the server.
CREATE FUNCTION api_operator.operator_tenants_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_id int := (p_request->'params'->>'tenant_id')::int;
BEGIN
	PERFORM control.tenant_delete_for(p_actor, v_id, (p_request->>'grace_s')::int);
	RETURN control.operator_tenant_answer(v_id, 202);
END $$;

-- ---- what stands still, and what goes -----------------------------------------------------------------------------

-- Weights and caps of fair scheduling, for the shard's tenants (NULL: all); one that is not active runs nothing new: its
-- queue waits with a cap of 0.
CREATE FUNCTION control.shard_quotas(p_shard int) RETURNS TABLE (tenant int, weight int, cap int, max_queued int)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT q.tenant, q.weight, CASE WHEN t.state = 'active' THEN q.max_concurrent ELSE 0 END, q.max_queued
		FROM control.quota q JOIN control.tenant t ON t.id = q.tenant WHERE p_shard IS NULL OR q.tenant % 16 = p_shard
		ORDER BY q.tenant;
END $$;

-- Cancel work of a deleted tenant, up to 500 executions: what ended here or was asked to end, for the queue; and whether
-- none is left.
CREATE FUNCTION control.purge_cancel(p_tenant int, OUT cancelled json, OUT none_left boolean)
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.dispatch;
	v_all json[] := '{}';
BEGIN
	FOR v_row IN SELECT * FROM control.dispatch d WHERE d.shard = (p_tenant % 16)::smallint AND d.tenant = p_tenant
	             AND (NOT d.cancel OR d.state <> 'R') ORDER BY d.eid LIMIT 500 FOR UPDATE LOOP
		IF v_row.state <> 'R' THEN
			DELETE FROM control.dispatch WHERE eid = v_row.eid;
			PERFORM control.terminal(p_tenant, v_row.eid, 'cancelled', v_row.epoch, v_row.started_at, NULL, NULL);
		ELSE
			UPDATE control.dispatch SET cancel = true WHERE eid = v_row.eid;
		END IF;
		v_all := v_all || json_build_object('eid', v_row.eid, 'shard', v_row.shard);
	END LOOP;
	cancelled := to_json(v_all);
	none_left := NOT EXISTS (SELECT FROM control.dispatch d WHERE d.shard = (p_tenant % 16)::smallint AND d.tenant = p_tenant);
END $$;

-- The next piece of work of one tenant that is to go, NULL when none is due: {"tenant","shard","step", and for cancel
-- "cancel": [{"eid","shard"}], for events "eids" and "last": no more follow}. Whoever took it has a minute for it; then
-- another scheduler gets it. All of it may be done twice.
CREATE FUNCTION control.purge_take(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_row    control.tenant_purge;
	v_tenant control.tenant;
	v_work   record;
	v_eids   uuid[];
BEGIN
	SELECT * INTO v_row FROM control.tenant_purge WHERE step <> 'done' AND due <= clock_timestamp() ORDER BY due LIMIT 1
	FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	IF v_row.step = 'cancel' THEN
		SELECT * INTO v_tenant FROM control.tenant WHERE id = v_row.tenant;
		SELECT * INTO v_work FROM control.purge_cancel(v_row.tenant);
		-- requests that were let in just before it was deleted go on for some seconds
		IF v_work.none_left AND clock_timestamp() >= greatest(v_tenant.purge_at, v_tenant.deleted_at + interval '8 s') THEN
			UPDATE control.tenant_purge SET step = 'events', due = clock_timestamp() WHERE tenant = v_row.tenant;
		ELSE
			UPDATE control.tenant_purge SET due = CASE
				WHEN json_array_length(v_work.cancelled) > 0 THEN clock_timestamp()
				WHEN NOT v_work.none_left THEN clock_timestamp() + interval '1 s'
				ELSE greatest(least(clock_timestamp() + interval '30 s', v_tenant.purge_at),
				              clock_timestamp() + interval '1 s') END
			WHERE tenant = v_row.tenant;
		END IF;
		RETURN json_build_object('tenant', v_row.tenant, 'shard', v_row.tenant % 16, 'step', 'cancel',
		                         'cancel', v_work.cancelled);
	END IF;
	UPDATE control.tenant_purge SET due = clock_timestamp() + interval '1 minute' WHERE tenant = v_row.tenant;
	IF v_row.step = 'events' AND to_regclass(format('t_%s.executions', v_row.tenant)) IS NOT NULL THEN
		EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM t_%s.executions WHERE $1 IS NULL OR id > $1
		                ORDER BY id LIMIT 500) p', v_row.tenant) INTO v_eids USING v_row.at;
	END IF;
	RETURN json_build_object('tenant', v_row.tenant, 'shard', v_row.tenant % 16, 'step', v_row.step,
		'eids', coalesce(to_json(v_eids), '[]'), 'last', coalesce(cardinality(v_eids), 0) < 500);
END $$;

-- The live events of those executions are gone: {"tenant","at" (the last one),"last"}.
CREATE FUNCTION control.purge_events_done(p_request json) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	UPDATE control.tenant_purge SET at = coalesce((p_request->>'at')::uuid, at), due = clock_timestamp(),
	       step = CASE WHEN (p_request->>'last')::boolean THEN 'rows' ELSE step END
	WHERE tenant = (p_request->>'tenant')::int AND step = 'events';
	SELECT NULL::json;
$$;

-- Rows of a tenant in every table of control that has a column for it, whichever part brought it. A table that others
-- refer to waits for its turn in the next round.
CREATE FUNCTION control.purge_tables() RETURNS text[]
LANGUAGE sql STABLE AS $$
	SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'control'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
	  AND a.attname = 'tenant' AND NOT a.attisdropped AND c.relname NOT IN ('tenant_purge', 'object_trash')
$$;

-- Up to p_limit rows of each shared table, and as many files: whether there may be more. So a large tenant holds no locks
-- for long, and leaves nothing of its size in one transaction. Rows that others refer to are passed over.
CREATE FUNCTION control.purge_some_rows(p_tenant int, p_limit int) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	v_table text;
	v_count int := 0;
	v_more  boolean := false;
BEGIN
	IF to_regclass(format('t_%s.artifacts', p_tenant)) IS NOT NULL THEN
		v_more := control.artifacts_drop(p_tenant, format('($1 IS NULL AND id = ANY (ARRAY(SELECT id FROM t_%s.artifacts
			LIMIT %s)))', p_tenant, p_limit), NULL) = p_limit;
	END IF;
	FOREACH v_table IN ARRAY control.purge_tables() LOOP
		BEGIN
			EXECUTE format('DELETE FROM control.%1$I WHERE ctid = ANY (ARRAY(SELECT ctid FROM control.%1$I
			                WHERE tenant = $1 LIMIT $2)) AND tenant = $1', v_table) USING p_tenant, p_limit;
			GET DIAGNOSTICS v_count = ROW_COUNT;
			v_more := v_more OR v_count = p_limit;
		EXCEPTION WHEN foreign_key_violation THEN
			NULL;
		END;
	END LOOP;
	RETURN v_more;
END $$;

CREATE FUNCTION control.purge_shared_rows(p_tenant int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_tables text[] := control.purge_tables();
	v_left   text[];
	v_table  text;
BEGIN
	LOOP
		v_left := '{}';
		FOREACH v_table IN ARRAY v_tables LOOP
			BEGIN
				EXECUTE format('DELETE FROM control.%I WHERE tenant = $1', v_table) USING p_tenant;
			EXCEPTION WHEN foreign_key_violation THEN
				v_left := v_left || v_table;
			END;
		END LOOP;
		EXIT WHEN v_left = '{}';
		IF v_left = v_tables THEN
			RAISE EXCEPTION 'rows of tenant % in % refer to each other', p_tenant, v_left;
		END IF;
		v_tables := v_left;
	END LOOP;
	DELETE FROM control.tenant WHERE id = p_tenant;
END $$;

-- {"tenant","limit"}: its schema with all in it, its role, its rows elsewhere; its files go to the trash. True: that many
-- rows of a table went, and more may be there: the rest is for the next call.
CREATE FUNCTION control.purge_rows(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := (p_request->>'tenant')::int;
BEGIN
	PERFORM FROM control.tenant_purge WHERE tenant = v_tenant AND step = 'rows' FOR UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	DELETE FROM control.password_failure f USING control.app_user u WHERE u.tenant = v_tenant AND f.email = lower(u.email);
	DELETE FROM control.reset_asked r USING control.app_user u WHERE u.tenant = v_tenant AND r.email = lower(u.email);
	IF control.purge_some_rows(v_tenant, (p_request->>'limit')::int) THEN
		UPDATE control.tenant_purge SET due = clock_timestamp() WHERE tenant = v_tenant;
		RETURN to_json(true);
	END IF;
	IF to_regprocedure('control.artifacts_drop_tenant(int)') IS NOT NULL THEN
		EXECUTE 'SELECT control.artifacts_drop_tenant($1)' USING v_tenant;
	END IF;
	EXECUTE format('DROP SCHEMA IF EXISTS t_%s CASCADE', v_tenant);
	EXECUTE format('DROP ROLE IF EXISTS t_%s', v_tenant);
	PERFORM control.purge_shared_rows(v_tenant);
	UPDATE control.tenant_purge SET step = 'stores', due = clock_timestamp() WHERE tenant = v_tenant;
	RETURN NULL;
END $$;

-- Queue and document server were looked through: {"tenant","settle_s"}. What a supervisor that hung had under way may
-- still arrive, so they are looked through again after settle_s (then the purge counts as finished), an hour and a day.
-- Files have to be out of the trash before.
CREATE FUNCTION control.purge_stores_done(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_row    control.tenant_purge;
	v_settle interval := make_interval(secs => (p_request->>'settle_s')::int);
BEGIN
	SELECT * INTO v_row FROM control.tenant_purge WHERE tenant = (p_request->>'tenant')::int AND step = 'stores' FOR UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	PERFORM control.purge_shared_rows(v_row.tenant);
	IF v_row.passes > 0 AND v_row.finished_at IS NULL AND to_regclass('control.object_trash') IS NOT NULL
	   AND EXISTS (SELECT FROM control.object_trash WHERE tenant = v_row.tenant) THEN
		UPDATE control.tenant_purge SET due = clock_timestamp() + interval '2 s' WHERE tenant = v_row.tenant;
		RETURN NULL;
	END IF;
	UPDATE control.tenant_purge SET passes = v_row.passes + 1,
	       finished_at = CASE WHEN v_row.passes > 0 THEN coalesce(v_row.finished_at, clock_timestamp()) END,
	       step = CASE WHEN v_row.passes >= 3 THEN 'done' ELSE 'stores' END,
	       due = clock_timestamp() + (ARRAY[v_settle, interval '1 hour', interval '1 day', interval '0'])[v_row.passes + 1]
	WHERE tenant = v_row.tenant;
	RETURN to_json(v_row.passes = 1);
END $$;

-- Throw away what nobody asks for any more.
CREATE FUNCTION control.people_janitor(p_request json) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	DELETE FROM control.session WHERE expires_at < now() - interval '1 day';
	DELETE FROM control.password_reset WHERE expires_at < now() - interval '1 day';
	DELETE FROM control.reset_asked WHERE at < now() - interval '1 hour';
	DELETE FROM control.password_failure WHERE last_at < now() - interval '1 hour';
	DELETE FROM control.known_network WHERE last_at < now() - interval '180 days';
	DELETE FROM control.invitation WHERE coalesce(accepted_at, withdrawn_at, expires_at) < now() - interval '90 days';
	DELETE FROM control.mail_outbox WHERE expires_at < now();
	SELECT NULL::json;
$$;

-- ---- rights ------------------------------------------------------------------------------------------------------

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT SELECT ON control.my_invitations, control.my_users, control.my_tenant, control.my_sessions, control.my_api_keys
	TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.my_tenant_key(), control.my_tenant_key_or(text), control.invite(json, json),
	control.invitation_withdraw(uuid), control.password_set(json, text, text), control.preferences_set(uuid, json),
	control.session_end(uuid, uuid), control.user_update(json, uuid, text, text), control.user_delete(json, uuid),
	control.user_sessions_end(json, uuid), control.api_key_add(json, json), control.api_key_drop(uuid, uuid),
	control.tenant_update(json, text, json), control.tenant_delete(json, int) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.login_candidates(text, text, text), control.login_wait(text, text),
	control.login_failed(json, json), control.session_rotate(bytea, bytea, int, text, text), control.session_check(uuid),
	control.key_check(bytea, text, text), control.logins_ended(uuid[]), control.invitation_check(text),
	control.password_reset_check(text), control.password_of(uuid), control.operator_candidate(text),
	control.operator_logged_in(uuid, text, text), control.operator_check(uuid, uuid) TO windlass_web;
GRANT EXECUTE ON FUNCTION control.tenant_key_of(int), control.shard_quotas(int), control.mail_take(json),
	control.mail_done(json), control.purge_take(json), control.purge_events_done(json), control.purge_rows(json),
	control.purge_stores_done(json), control.people_janitor(json) TO windlass_engine;
