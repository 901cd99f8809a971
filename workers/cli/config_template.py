"""The `colm.toml` that `colm init` writes: every table explained, equal to the defaults."""

TEMPLATE = """\
# CoLM's settings. Every value here is the default; delete what you do not change.
# A variable overrides one value: COLM_BROKER, COLM_DEADLINES__DRAFT, COLM_CLIENTS__ADA__DOMAIN, ...

# Leave both out for the embedded stack of 'colm up' (a private broker and a SQLite file).
# broker = "amqp://colm:password@rabbitmq.example:5672/colm"
# database = "postgresql+psycopg2://colm:password@postgres.example/colm"

# RabbitMQ's management API, for 'colm client add' and 'colm doctor'. Better in COLM_MANAGEMENT.
# management = "http://admin:password@rabbitmq.example:15672"

# Where the embedded stack keeps its files, and where models are kept.
# home = "~/.local/state/colm"      # or colm in XDG_STATE_HOME
# cache = "~/.cache/colm"           # or colm in XDG_CACHE_HOME

# Threads of each coordinator process.
coordinator_threads = 4
# true shows questions in Flower; false shows only their length.
show_texts = false

# --- Clients: small models that draft and refine. The name is the id and names the queues. --------
[clients.ada]
persona = "You are a careful mathematician who checks every step."
domain = "mathematics and logic"

[clients.bo]
persona = "You are a practical engineer who looks for what works."
domain = "engineering"

[clients.cy]
persona = "You are a curious scientist who asks what the evidence says."
domain = "natural science"

# Every participant may have its own sampling and engine:
# [clients.cy.sampling]
# max_new_tokens = 256
# temperature = 0.7
# top_p = 1.0
# stop = []
#
# [clients.cy.engine]
# kind = "transformers"              # transformers | openai | scripted
# model = "quickstart"               # a folder, a hub id, or a .gguf file
# device = "auto"                    # auto | cpu | cuda | cuda:0
# dtype = "auto"                     # auto | float32 | bfloat16 | float16
# threads = 2
# max_num_seqs = 8
# kv_cache_tokens = 32768
# trust_remote_code = false          # true runs code that lies in the model's folder
#
# [clients.cy.engine]                # any OpenAI-compatible endpoint
# kind = "openai"
# model = "qwen2.5-7b-instruct"
# base_url = "http://127.0.0.1:8000/v1"
# api_key_env = "MY_API_KEY"         # the NAME of the variable that holds the key
# omit = ["seed"]                    # fields that the endpoint does not take; 'colm doctor' tells

# --- Servers: large models that select and synthesize. The first is the default. -----------------
[servers.main]

[servers.main.sampling]
temperature = 0.3

# --- How long each stage and the whole query may take (seconds). ---------------------------------
[deadlines]
select = 60
draft = 120
synthesize = 180
refine = 120
plan = 120
solve = 180
aggregate = 180
judge = 120
check = 60
query = 900

# --- Default options of the strategies; a caller's own go before these. --------------------------
[strategies.colm]
rounds = 2
server_sees_question = true
client_sees_own_draft = true

[limits]
queue_length = 100000
delivery_limit = 5
parked_letters = 10000
submissions_per_second = 500
max_redeliveries = 2
max_isolated_runs = 1
engine_stall_timeout = 120
shutdown_grace = 20
no_consumer_timeout = 10
heartbeat = 30

[log]
level = "info"
max_bytes = 10000000
backups = 2

# --- Evaluations that 'celery -A colm.tasks beat' orders by the clock. ---------------------------
# [schedules.night]
# evaluate = "evaluation.toml"
# when = "weekdays 22:00"                  # UTC, or with a zone: "weekdays 22:00 Europe/Berlin"

# --- Where images lie; for a site of several machines, the address of `colm images`. --------------
[images]
# url = "http://images.example:8700"
# secret_file = "/etc/colm/images.secret"  # shared by callers, coordinators and `colm images`
keep = "folder"
max_bytes = 20000000
max_pixels = 40000000

# --- Checkpoints: signed by the key of 'colm audit key'. 0: only 'colm audit checkpoint' does. ---
[audit]
# key = "/etc/colm/audit.key"  # instead of audit.key in home
checkpoint_minutes = 60

# --- For amqps:// and https://. Paths of PEM files; without ca the system's authorities count. ----
[tls]
# ca = "/etc/colm/ca.pem"
# certificate = "/etc/colm/this.pem"  # only where the broker asks for one
# key = "/etc/colm/this.key"
verify = true
"""
