-- Addresses: JSON Pointers (RFC 6901) as people write them, and paths as parts keep them.
--   pointer  /memory/a~1b        path  /memory/a~1b/
-- A path's keys are written as inside a JSON string and it ends in "/", so that (1) byte order is depth-first
-- order, (2) everything at and under it is the range [path, path_end(path)), (3) NUL and lone surrogates,
-- which text can't hold, are plain letters, and (4) it can be put between quotes as it is. Helpers that run
-- once for each part have no SET clause, so that the planner can inline them (it does not if they are strict
-- and hold a case, either); their bodies name built-in functions only.
-- Breaks running code: no.

create function asyouwere.path_key(p_key text) returns text
language sql immutable parallel safe
return case when p_key ~ '[~/"\\\x01-\x1f]'
    then replace(replace(substr(to_json(p_key)::text, 2, length(to_json(p_key)::text) - 2),
        '~', '~0'), '/', '~1')
    else p_key end;
comment on function asyouwere.path_key is
    'A key as it stands in a path: escaped as in a JSON string, then as in a pointer.';
revoke execute on function asyouwere.path_key from public;

create function asyouwere.is_path(p_path text) returns boolean
language sql immutable strict parallel safe
-- one spelling for each key: two of them would be two members with one name
return p_path ~ ('^/(?:(?:[^"\\~/\x01-\x1f]|~[01]|\\["\\bfnrt]|\\u00(?:0[0-7bef]|1[0-9a-f])'
    '|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])|\\ud[c-f][0-9a-f]{2})*/)*$');
comment on function asyouwere.is_path is
    'Whether a text is a path; one that is not could break the JSON it is put into.';
revoke execute on function asyouwere.is_path from public;

create function asyouwere.path_end(p_path text) returns text
language sql immutable strict parallel safe
return left(p_path, -1) || '0'; -- "0" is the byte after "/"
comment on function asyouwere.path_end is 'The first path after everything under this one.';
revoke execute on function asyouwere.path_end from public;

create function asyouwere.path_depth(p_path text) returns int
language sql immutable strict parallel safe
return length(p_path) - length(replace(p_path, '/', '')) - 1;
comment on function asyouwere.path_depth is 'How many keys a path has; 0 for the root, "/".';
revoke execute on function asyouwere.path_depth from public;

create function asyouwere.path_parent(p_path text) returns text
language sql immutable strict parallel safe
return left(p_path, -1 - length(split_part(p_path, '/', -2)));
comment on function asyouwere.path_parent is 'The path of the container that holds this member.';
revoke execute on function asyouwere.path_parent from public;

create function asyouwere.path_ancestors(p_path text) returns text[]
language sql immutable parallel safe
return case asyouwere.path_depth(p_path)
    when 0 then '{}'
    when 1 then array[p_path]
    when 2 then array['/' || split_part(p_path, '/', 2) || '/', p_path]
    else array['/' || split_part(p_path, '/', 2) || '/',
        '/' || split_part(p_path, '/', 2) || '/' || split_part(p_path, '/', 3) || '/',
        '/' || split_part(p_path, '/', 2) || '/' || split_part(p_path, '/', 3)
            || '/' || split_part(p_path, '/', 4) || '/']
end;
comment on function asyouwere.path_ancestors is
    'The members on the way to a path, itself included, down to depth 3, where parts end.';
revoke execute on function asyouwere.path_ancestors from public;

create function asyouwere.may_be_made(p_path text, p_missing text) returns boolean
language sql immutable parallel safe
return p_missing is not null and substr(p_path, length(p_missing) + 1) !~ '(?:^|/)(?:0|[1-9][0-9]{0,8})/';
comment on function asyouwere.may_be_made is
    'Whether the objects on the way to a path are made, the first that is missing being given: not where a '
    'number comes further on, which could be an item of a list.';
revoke execute on function asyouwere.may_be_made from public;

create function asyouwere.path_json_key(p_path text) returns text
language sql immutable parallel safe
return case when position('~' in p_path) = 0 then '"' || split_part(p_path, '/', -2) || '"'
    else '"' || replace(replace(split_part(p_path, '/', -2), '~1', '/'), '~0', '~') || '"' end;
comment on function asyouwere.path_json_key is 'The last key of a path as a JSON string.';
revoke execute on function asyouwere.path_json_key from public;

create function asyouwere.pointer_json(p_path text, p_item int) returns text
language sql immutable parallel safe
return '"' || left(p_path, -1) || case when p_item >= 0 then '/' || p_item else '' end || '"';
comment on function asyouwere.pointer_json is 'A part''s address as a JSON string holding a pointer.';
revoke execute on function asyouwere.pointer_json from public;

create function asyouwere.address_detail(p_address_json text) returns text
language sql immutable parallel safe
-- cut before the first escape, so that none is cut in two: it is only shown
return case when octet_length(p_address_json) <= 2001 then format('{"address": %s}', p_address_json)
    else format('{"address": "%s …"}', split_part(substr(p_address_json, 2, 200), '\', 1)) end;
comment on function asyouwere.address_detail is
    'What an error tells of an address, given as a JSON string: itself, or how it begins if it is '
    'longer than any may be.';
revoke execute on function asyouwere.address_detail from public;

create function asyouwere.path_of_pointer(p_pointer text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v_path text;
begin
    if p_pointer <> '' and left(p_pointer, 1) <> '/' or p_pointer ~ '~(?![01])' then
        perform asyouwere.fail('invalid_address',
            'An address is a JSON Pointer: it starts with "/", and "~" is written "~0", "/" in a key "~1".',
            asyouwere.address_detail(to_json(p_pointer)::text));
    end if;
    if p_pointer ~ '["\\\x01-\x1f]' then
        v_path := substr(to_json(p_pointer)::text, 2, length(to_json(p_pointer)::text) - 2) || '/';
    else
        v_path := p_pointer || '/';
    end if;
    if octet_length(v_path) > 2000 then
        perform asyouwere.fail('address_too_long',
            p_detail => asyouwere.address_detail(to_json(p_pointer)::text));
    end if;
    return v_path;
end;
$$;
comment on function asyouwere.path_of_pointer is
    'The path of a JSON Pointer. Raises invalid_address, address_too_long.';
revoke execute on function asyouwere.path_of_pointer from public;

create function asyouwere.readable_json(p_body text) returns json
language sql immutable parallel safe
-- Postgres can hold JSON text with \u0000 or a lone surrogate but not look inside it (->> fails). Replace
-- them by U+FFFD where, and only where, somebody wants to look. Escaped backslashes go first (JSON text holds
-- no control characters that could be in their place), so that each backslash that is left begins an escape;
-- then the pairs of surrogates.
return case when p_body !~ '\\u(?:0000|[dD][89a-fA-F])' then p_body::json
    else replace(replace(
        regexp_replace(
            regexp_replace(replace(p_body, '\\', E'\x01'),
                '\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)', E'\x02u\\1\x02u\\2', 'g'),
            '\\u(?:0000|[dD][89a-fA-F]..)', U&'\FFFD', 'g'),
        E'\x02', '\'), E'\x01', '\\')::json
    end;
comment on function asyouwere.readable_json is
    'A body one can look into: NUL and lone surrogates shown as U+FFFD.';
revoke execute on function asyouwere.readable_json from public;
grant execute on function asyouwere.readable_json to anon, authenticated, service_role;

create function asyouwere.json_head(p_body text, p_characters int) returns json
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text;
    v_bare text;
    v_open text;
    v_inside boolean;
    v_is_key boolean;
begin
    if octet_length(p_body) <= p_characters then
        return asyouwere.readable_json(p_body);
    end if;
    -- The beginning of a JSON text, closed so that it is one: escaped backslashes out of the way as in
    -- readable_json, no half escape at the end, and of what is in strings nothing left to mislead.
    v_text := regexp_replace(replace(left(p_body, p_characters), '\\', E'\x01'),
        '\\(?:u[0-9a-fA-F]{0,3})?$', '');
    v_bare := regexp_replace(v_text, '"(?:[^"\\]|\\.)*"', E'\x02', 'g');
    v_inside := strpos(v_bare, '"') > 0;
    if v_inside then
        v_bare := regexp_replace(v_bare, '\s*".*$', '');
    else
        v_bare := regexp_replace(v_bare, E'[^][{}\x02",:]+$', '');
        v_text := regexp_replace(v_text, '[^][{}",:]+$', '');
    end if;
    v_open := regexp_replace(v_bare, '[^][{}]+', '', 'g');
    while v_open ~ '\{\}|\[\]' loop
        v_open := replace(replace(v_open, '{}', ''), '[]', '');
    end loop;
    v_is_key := right(v_open, 1) = '{'
        and regexp_replace(v_bare, E'\\s*\x02$', '') ~ '[{,]\s*$' and (v_inside or v_bare ~ E'\x02$');
    if v_inside and v_is_key then
        v_text := regexp_replace(v_text, '[\s,]*"(?:[^"\\]|\\.)*$', '');
    elsif v_inside then
        v_text := v_text || '"';
    elsif v_is_key then
        v_text := v_text || ':null';
    elsif v_bare ~ ':$' then
        v_text := v_text || 'null';
    else
        v_text := regexp_replace(v_text, '[\s,]+$', '');
    end if;
    v_text := replace(v_text || reverse(translate(v_open, '{[', '}]')), E'\x01', '\\');
    return asyouwere.readable_json(coalesce(nullif(v_text, ''), 'null')); -- nothing is left of half a number
end;
$$;
comment on function asyouwere.json_head is
    'A body one can look into; of one that has more bytes than that, as many characters, closed so that'
    ' they are JSON.';
revoke execute on function asyouwere.json_head from public;
grant execute on function asyouwere.json_head to anon, authenticated, service_role;

do $$
begin
    -- IS JSON reads a text without failing, from Postgres 16 on. On 15 only a cast can tell.
    if current_setting('server_version_num')::int >= 160000 then
        execute $f$
            create function asyouwere.is_json(p_text text) returns boolean
            language sql immutable parallel safe return p_text is not null and p_text is json
        $f$;
    else
        execute $f$
            create function asyouwere.is_json(p_text text) returns boolean
            language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $b$
            begin
                return p_text is not null and json_typeof(p_text::json) is not null;
            exception when invalid_text_representation then
                return false;
            end $b$
        $f$;
    end if;
end;
$$;
comment on function asyouwere.is_json is 'Whether a text is JSON; null is not.';
revoke execute on function asyouwere.is_json from public;
