"""Each fault of a configuration is one line, which begins with the path of the key."""

from collections.abc import Callable

import pytest

from app.errors import ConfigurationError
from app.settings import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

DO = 'do = { agent = "supplier", method = "POST", path = "/purchases" }'
REFUND = 'undo = { agent = "psp", method = "POST", path = "/refunds" }'
STEP = "sagas.purchase.steps[1]"
KEY = '[[api_keys]]\nname = "{}"\nscope = "read"\nsha256 = "{}"\n'
OAUTH = 'base_url = "https://h"\noauth = { token_path = "/token", client_id = "shop", client_secret = "s3cret" }\n'
SECOND_PURCHASE = f'[[sagas.purchase.steps]]\nname = "purchase"\n{DO}\n'


def test_all_faults_come_at_once_one_line_each(faults: Faults) -> None:
    text = '[server]\nport = "80"\nhots = "x"\n[worker]\nlease = "30"\n[retention]\nevents = 30\n[sever]\n'
    assert sorted(faults("", text)) == [
        "retention.events: must be a string, not an integer",
        'server.hots: unknown key (did you mean "host"?)',
        "server.port: must be an integer, not a string",
        'sever: unknown key (did you mean "server"?)',
        'worker.lease: must be a duration such as "250ms", "30s", "5m", "24h" or "90d"',
    ]


def test_a_missing_agent_is_told_in_the_words_of_the_contract(faults: Faults) -> None:
    assert faults(DO, DO.replace("supplier", "supplyer")) == [
        'sagas.purchase.steps[1].do.agent: no agent named "supplyer"'
    ]


def test_two_steps_of_one_name_are_told(faults: Faults) -> None:
    assert faults("", SECOND_PURCHASE) == ["sagas.purchase.steps[2].name: the same name as sagas.purchase.steps[1]"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[server]\nport = true", "server.port: must be an integer, not a boolean"),
        ("[server]\nport = 70000", "server.port: must be from 0 to 65535"),
        ("[server]\nmax_body = 0", "server.max_body: must be at least 1"),
        ("[server]\nmax_body = 1.5", "server.max_body: must be an integer, not a number"),
        ("[server]\nhost = 2026-01-01", "server.host: must be a string, not a date or time"),
        ('[database]\nurl = "mysql://h/d"', 'database.url: must be a URL such as "postgresql://user@host/db"'),
        ("[database]\npool_size = 0", "database.pool_size: must be at least 1"),
        ('[worker]\npoll_interval = "0s"', "worker.poll_interval: must be at least 1ms"),
        ('[retention]\nfinished = "99999d"', "retention.finished: must not be longer than 36500 days"),
        ("[[server]]", "server: must be a table, not an array"),
        ("[api_keys]", "api_keys: must be an array, not a table"),
        ("api_keys = [1]\n", "api_keys[0]: must be a table, not an integer"),
        (KEY.format("a", "xyz"), "api_keys[0].sha256: must be the SHA-256 of the key: 64 hex digits"),
        (KEY.format("", "0" * 64), "api_keys[0].name: must have from 1 to 63 characters, and no control characters"),
        (
            KEY.format("a", "0" * 64).replace("read", "write"),
            'api_keys[0].scope: must be one of read, operate, not "write"',
        ),
        (KEY.format("a", "0" * 64) + KEY.format("a", "1" * 64), "api_keys[1].name: the same name as api_keys[0]"),
        (KEY.format("a", "a" * 64) + KEY.format("b", "A" * 64), "api_keys[1].sha256: the same key as api_keys[0]"),
    ],
)
def test_the_services_own_tables_are_checked(load_text: Load, text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_text(text)
    assert caught.value.faults == (fault,)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            '"standard-webhooks"',
            '"strype"',
            'sources.shop.provider: no provider named "strype"; there are: adyen, hmac, mollie, paypal, razorpay, shopify, square, standard-webhooks, stripe',
        ),
        ('saga = "purchase"', 'saga = "purchas"', 'sources.shop.saga: no saga named "purchas"'),
        ('saga = "purchase"', "", "sources.shop.saga: is required"),
        ('["whsec_c2VjcmV0"]', '["whsec_"]', "sources.shop.secrets[0]: is empty"),
        (
            '["whsec_c2VjcmV0"]',
            '["c2VjcmV0", "no base64!"]',
            "sources.shop.secrets[1]: must be base64, with or without whsec_ before it",
        ),
        ('["whsec_c2VjcmV0"]', '"whsec_c2VjcmV0"', "sources.shop.secrets: must be an array, not a string"),
        ('["whsec_c2VjcmV0"]', "[1]", "sources.shop.secrets[0]: must be a string, not an integer"),
        (
            '["whsec_c2VjcmV0"]',
            '["c2VjcmV0"]\nidentity = ""',
            "sources.shop.identity: must have from 1 to 255 characters, and no control characters",
        ),
        ('["whsec_c2VjcmV0"]', '["c2VjcmV0"]\ntolerance = "5 m"', "sources.shop.tolerance: must be a duration"),
        (
            '["whsec_c2VjcmV0"]',
            '["c2VjcmV0"]\nmerchant_account = "x"',
            "sources.shop.merchant_account: unknown key",
        ),
        ("[sources.shop]", "[sources.Shop]", "sources.Shop: a name begins with a letter a-z"),
        ("[sources.shop]", '[sources."my shop"]', 'sources."my shop": a name begins with a letter a-z'),
        ("[sources.shop]", f"[sources.{'a' * 64}]", f"sources.{'a' * 64}: a name has at most 63 characters"),
    ],
)
def test_sources_are_checked(faults: Faults, old: str, new: str, fault: str) -> None:
    found = faults(old, new)
    assert len(found) == 1
    assert found[0].startswith(fault)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            'amount = "data."',
            "sources.shop.fields.amount: is no JMESPath expression: it breaks off or goes wrong at column 6",
        ),
        ('amount = ""', "sources.shop.fields.amount: is no JMESPath expression: it is empty"),
        (
            'amount_unit = "cents"',
            'sources.shop.fields.amount_unit: must be one of minor, major, not "cents"',
        ),
        ("payment_event = []", "sources.shop.fields.payment_event: must name at least one event type"),
        ('payment_event = ["paid", ""]', "sources.shop.fields.payment_event[1]: must not be empty"),
        ("payment_event = 1", "sources.shop.fields.payment_event: must be an array, not an integer"),
        ('curency = "x"', 'sources.shop.fields.curency: unknown key (did you mean "currency"?)'),
    ],
)
def test_fields_are_checked(faults: Faults, line: str, fault: str) -> None:
    assert faults("", f"[sources.shop.fields]\n{line}\n") == [fault]


@pytest.mark.parametrize(
    ("new", "fault"),
    [
        ('base_url = "supplier.example"', 'base_url: must be a URL such as "https://supplier.example"'),
        ('base_url = "ftp://supplier.example"', "base_url: must be a URL"),
        ('base_url = "https://"', "base_url: must be a URL"),
        ('base_url = "https://h:99999"', "base_url: must be a URL"),
        ('base_url = "https://[::1"', "base_url: must be a URL"),
        ('base_url = "https://h/a?b=c"', "base_url: must have neither a query (?) nor a fragment (#)"),
        ("", "base_url: is required"),
        ('base_url = "https://h"\ntimeout = 10', "timeout: must be a string, not an integer"),
        ('base_url = "https://h"\ntimeout = "0s"', "timeout: must be at least 1ms"),
        ('base_url = "https://h"\nmax_concurrency = 0', "max_concurrency: must be at least 1"),
        ('base_url = "https://h"\noauth = "x"', "oauth: must be a table, not a string"),
        (OAUTH.replace("client_id", 'scope = "x", client_id'), "oauth.scope: unknown key"),
        (OAUTH.replace("/token", "token"), 'oauth.token_path: must be a path such as "/v1/oauth2/token"'),
        (OAUTH.replace("s3cret", ""), "oauth.client_secret: must have printable ASCII characters, and no other"),
        (OAUTH + "headers = { authorization = 'x' }", "oauth: does not go with the header Authorization"),
        (OAUTH.replace("//h", "//u:p@h"), "oauth: does not go with credentials in base_url"),
        ('base_url = "https://h"\nbreaker = { failures = 0 }', "breaker.failures: must be at least 1"),
        ('base_url = "https://h"\nbreaker = { opens = "1s" }', 'breaker.opens: unknown key (did you mean "open"?)'),
        ('base_url = "https://h"\nheaders = { "a b" = "c" }', 'headers."a b": is not the name of a header'),
        ('base_url = "https://h"\nheaders = { X = "a\\nb" }', "headers.X: may have only printable ASCII"),
        ('base_url = "https://h"\nheaders = { X = 1 }', "headers.X: must be a string, not an integer"),
        (
            'base_url = "https://h"\nheaders = { idempotency-Key = "x" }',
            "headers.idempotency-Key: is set for each call and cannot be configured",
        ),
    ],
)
def test_agents_are_checked(faults: Faults, new: str, fault: str) -> None:
    found = faults('base_url = "https://supplier.example"', new)
    assert len(found) == 1
    assert found[0].startswith(f"agents.supplier.{fault}")


def test_a_missing_part_of_the_credentials_is_told(faults: Faults) -> None:
    assert faults('base_url = "https://supplier.example"', 'base_url = "https://h"\noauth = {}') == [
        f"agents.supplier.oauth.{key}: is required" for key in ("token_path", "client_id", "client_secret")
    ]


@pytest.mark.parametrize(
    ("new", "fault"),
    [
        ("", "do: is required: only the first step, the payment, has none"),
        ("do = false", "do: must be a table, not a boolean"),
        (DO.replace("POST", "post"), 'do.method: must be one of GET, POST, PUT, PATCH, DELETE, not "post"'),
        (DO.replace('method = "POST", ', ""), "do.method: is required"),
        (DO.replace(" }", ', body = "{a: }" }'), "do.body: is no JMESPath expression"),
        (DO.replace(" }", ', body = "nth(event)" }'), "do.body: JMESPath has no function nth"),
        (DO.replace(" }", ', body = "abs()" }'), "do.body: the function abs takes 1 arguments, not 0"),
        (DO.replace(" }", ', timeout = "1s" }'), "do.timeout: goes with `local` alone"),
        (DO.replace(" }", ', url = "x" }'), "do.url: unknown key"),
        (DO.replace("POST", "GET").replace(" }", ', body = "event" }'), "do.body: a GET has no body"),
        (DO.replace("/purchases", "purchases"), "do.path: must begin with /"),
        (DO.replace("/purchases", "/{order_id"), "do.path: has a brace without its other half"),
        (DO.replace("/purchases", "/{}"), "do.path: between braces stands what {order_id}"),
        (DO.replace("/purchases", "/{order id}"), "do.path: between braces stands what {order_id}"),
        (DO.replace("/purchases", "/a b"), "do.path: may have only printable ASCII characters without spaces"),
        (DO.replace("/purchases", "/a#b"), "do.path: must not have a fragment (#)"),
        ('do = { local = "reserve" }', 'do.local: must be "module:function"'),
        ('do = { local = "shop.steps:" }', 'do.local: must be "module:function"'),
        ('do = { local = "a:b", timeout = "x" }', "do.timeout: must be a duration"),
        ('do = { local = "a:b", agent = "supplier" }', "do.agent: does not go with `local`"),
        (DO + "\nundo_retry = { maximum_attempts = 0 }", "undo_retry.maximum_attempts: must be from 1 to 1000000"),
        (DO + "\nretry = { backoff_coefficient = 0.5 }", "retry.backoff_coefficient: must be from 1 to 1000"),
        (DO + "\nretry = { backoff_coefficient = nan }", "retry.backoff_coefficient: must be from 1 to 1000"),
        (DO + "\nretry = { initial_interval = 1 }", "retry.initial_interval: must be a string, not an integer"),
        (DO + "\nretries = {}", 'retries: unknown key (did you mean "retry"?)'),
        (
            DO + '\nlookup = { agent = "supplier", method = "GET", path = "/x", done = "a ==" }',
            "lookup.done: is no JMESPath expression",
        ),
    ],
)
def test_steps_are_checked(faults: Faults, new: str, fault: str) -> None:
    found = faults(DO, new)
    assert len(found) == 1
    assert found[0].startswith(f"{STEP}.{fault}")


@pytest.mark.parametrize(
    ("new", "fault"),
    [
        (REFUND + "\n" + DO, "steps[0].do: the first step is the payment"),
        ("", "steps[0].undo: is required: the first step is the payment"),
        ("undo = false", "steps[0].undo: is required: the first step is the payment"),
        ("undo = true", "steps[0].undo: must be a table, not a boolean"),
        (REFUND + '\nlookup = { agent = "psp", method = "GET", path = "/x" }', "steps[0].lookup: the first step"),
        (
            'undo = { agent = "psp", refund = "stripes" }',
            'steps[0].undo.refund: no refund protocol named "stripes"; there are: ',
        ),
        ('undo = { agent = "pst", refund = "stripe" }', 'steps[0].undo.agent: no agent named "pst"'),
        ('undo = { refund = "stripe" }', "steps[0].undo.agent: is required"),
        (
            'undo = { agent = "psp", refund = "stripe", path = "/refunds" }',
            "steps[0].undo.path: does not go with `refund`",
        ),
        (
            'undo = { agent = "psp", refund = "stripe", timeout = "1s" }',
            "steps[0].undo.timeout: does not go with `refund`",
        ),
    ],
)
def test_the_first_step_is_the_payment(faults: Faults, new: str, fault: str) -> None:
    found = faults(REFUND, new)
    assert len(found) == 1
    assert found[0].startswith(f"sagas.purchase.{fault}")


@pytest.mark.parametrize("name", ["Purchase", "1st", "two-words", "", "a" * 64, "ä"])
def test_steps_have_names_that_a_path_can_hold(faults: Faults, name: str) -> None:
    found = faults('name = "purchase"', f'name = "{name}"')
    assert len(found) == 1
    assert found[0].startswith(f"{STEP}.name: a name ")


@pytest.mark.parametrize("steps", ["", "steps = []\n"])
def test_a_saga_has_steps(load_text: Load, steps: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_text(f'[sagas.a]\ndeadline = "1h"\n{steps}')
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["sagas.a.steps"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("${NONE}", "the environment variable NONE is not set"),
        ("a${NONE", "`${` must be followed by the name of an environment variable and `}`"),
        ("${}", "`${` must be followed by the name of an environment variable and `}`"),
        ("${a b}", "`${` must be followed by the name of an environment variable and `}`"),
    ],
)
def test_a_variable_that_is_not_set_is_told_with_its_key(faults: Faults, value: str, sentence: str) -> None:
    assert faults('"https://psp.example"', f'"{value}"') == [f"agents.psp.base_url: {sentence}"]


def test_a_database_url_of_the_environment_is_checked_too(faults: Faults) -> None:
    assert faults(DATABASE_URL="sqlite:///x") == [
        'database.url: DATABASE_URL in the environment must be a URL such as "postgresql://user@host/db"'
    ]
