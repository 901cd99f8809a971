"""Users, permissions and the management API of RabbitMQ."""
