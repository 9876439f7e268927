"""The processes of a deployment on one machine: what docker-compose.yml runs in containers."""
