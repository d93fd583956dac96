"""The example `hello` on the sites of docker-compose.yaml's profiles."""

from airflow_hybrid import load_dags

load_dags("sites.yml", globals())
