"""Celery's settings, derived from ours. Celery imports it at the first use of `app.conf`.

docs/adr/0003 has the delivery rules.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES

from colm.tasks.broker.capabilities import broker_of
from colm.tasks.broker.topology import ASK, topology_of
from colm.tasks.config.settings import settings

_found = settings()

broker_url = _found.broker_url
if broker_url.startswith("amqps"):
    broker_use_ssl = _found.tls.for_celery(broker_url)
# The record is the result backend: an AsyncResult of `ask` resolves to the recorded answer.
result_backend = "colm.workers.result_backend:RecordBackend"
# Beat would otherwise send a clean-up task every night.
result_expires = None

task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
enable_utc = True
timezone = "UTC"

# A message is acked when the task has returned: after the commit and every publisher confirm. An
# unexpected error rejects it, so that it is dead-lettered.
task_acks_late = True
task_acks_on_failure = False
task_acks_on_timeout = False
task_reject_on_worker_lost = True
task_ignore_result = True
task_store_errors_even_if_ignored = False
worker_prefetch_multiplier = 1
worker_cancel_long_running_tasks_on_connection_loss = False

task_queues = topology_of(_found).everything()
task_default_queue = ASK
task_default_exchange = ASK
task_default_exchange_type = "topic"
task_default_routing_key = "ask"
task_default_queue_type = "quorum"
task_create_missing_queues = False
worker_detect_quorum_queues = True
worker_consumer = "colm.workers.consumer.bootsteps:PlainConsumer"
event_queue_exclusive = True
# Exclusive, it would lock a worker out after a network cut, while its old connection lasts. Not
# exclusive, RabbitMQ 4.3 requires it to be durable; it expires without a consumer.
control_queue_exclusive = False
control_queue_durable = True

broker_transport_options: dict[str, Any]
if broker_of(_found).publisher_confirms:
    broker_transport_options = {"confirm_publish": True}
    broker_heartbeat = _found.limits.heartbeat
else:
    TRANSPORT_ALIASES["redis"] = "colm.tasks.broker.embedded_transport:Transport"
    broker_transport_options = {
        # Longer than any task: a running task would be redelivered.
        "visibility_timeout": int(2 * _found.deadlines.query) + 60,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
    }
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# Connections for publishes; workers set less (docs/explanation/security.md counts them).
broker_pool_limit = 10
task_publish_retry = True
task_publish_retry_policy = {
    "max_retries": 8,
    "interval_start": 0.05,
    "interval_step": 0.2,
    "interval_max": 2.0,
}

# For `celery -A colm.tasks beat`.
if _found.schedules:
    from colm.tasks.config.schedules import beat_entries

    beat_schedule = beat_entries(_found.schedules)
    beat_schedule_filename = str(_found.home / "beat")

worker_send_task_events = True
# A sent event costs a second publish and confirm for each message: a tenth of a query's work.
task_send_sent_event = False
worker_hijack_root_logger = False
worker_redirect_stdouts = False
