"""What Cassandra is told: its configuration, its logging, and the options of its Java."""

import json
from dataclasses import dataclass
from pathlib import Path

DATACENTER = "datacenter1"
"""What SimpleSnitch calls it."""
MAIN = "org.apache.cassandra.service.CassandraDaemon"

# What Cassandra reaches into, from the jvm17-server.options that its own distribution comes with.
_EXPORTED = (
    *("java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch"),
    *("java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry"),
    *("java.rmi/sun.rmi.server", "java.sql/java.sql"),
)
_OPENED = (
    *("java.base/java.io", "java.base/java.lang", "java.base/java.lang.module"),
    *("java.base/java.lang.ref", "java.base/java.nio", "java.base/java.util"),
    *("java.base/jdk.internal.loader", "java.base/jdk.internal.math"),
    *("java.base/jdk.internal.module", "java.base/jdk.internal.ref"),
    *("java.base/jdk.internal.reflect", "java.base/jdk.internal.util.jar"),
    *("java.base/sun.nio.ch", "jdk.management/com.sun.management.internal"),
    "jdk.unsupported/sun.misc",
)
_LOGBACK = """\
<configuration>
  <appender name="FILE" class="ch.qos.logback.core.FileAppender">
    <file>{log}</file>
    <encoder><pattern>%-5level [%thread] %date{{ISO8601}} %logger{{0}} - %msg%n</pattern></encoder>
  </appender>
  <!-- These advise on the machine, which is the same for every test and not ours to change. -->
  <logger name="org.apache.cassandra.service.StartupChecks" level="ERROR"/>
  <root level="INFO"><appender-ref ref="FILE"/></root>
</configuration>
"""


def logging(log: Path) -> str:
    """The `logback.xml` of a node: all from INFO on into one file."""
    return _LOGBACK.format(log=log)


@dataclass(frozen=True)
class Plan:
    """A cluster before it runs.

    - `native`, `storage`: ports for clients and between nodes, the same on each host.
    """

    hosts: tuple[str, ...]
    native: int
    storage: int
    authenticated: bool

    @property
    def alone(self) -> bool:
        """Whether there is just one node."""
        return len(self.hosts) == 1

    def tokens(self) -> list[int]:
        """Where on the ring of 64 bits each node begins: even shares, known before the start."""
        step = 2**64 // len(self.hosts)
        return [-(2**63) + 1 + step * index for index in range(len(self.hosts))]

    def configuration(self, index: int, folder: Path) -> str:
        """The `cassandra.yaml` of a node. It is JSON, which is YAML too."""
        return json.dumps(self._ring(index) | self._storage(folder) | _limits(), indent=2)

    def _ring(self, index: int) -> dict[str, object]:
        host = self.hosts[index]
        # Each is a seed of a ring that is known in full, so all may start at once: nobody streams
        # and nobody waits for another to have joined.
        seeds = ",".join(f"{seed}:{self.storage}" for seed in self.hosts)
        provider = "org.apache.cassandra.locator.SimpleSeedProvider"
        return {
            "cluster_name": "tradewire",
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "num_tokens": 1,
            "initial_token": str(self.tokens()[index]),
            "auto_bootstrap": False,
            "endpoint_snitch": "SimpleSnitch",
            "seed_provider": [{"class_name": provider, "parameters": [{"seeds": seeds}]}],
            "listen_address": host,
            "storage_port": self.storage,
            "rpc_address": host,
            "native_transport_port": self.native,
            # Nodes that start at once would each hold a part of the users, and one may be killed.
            "default_keyspace_rf": len(self.hosts),
            **self._users(),
        }

    def _users(self) -> dict[str, object]:
        if not self.authenticated:
            return {"authenticator": "AllowAllAuthenticator"}
        return {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"}

    def _storage(self, folder: Path) -> dict[str, object]:
        return {
            # As in production. To wait for the disk, Cassandra writes the partitions of a batch
            # one after another: 60 of them took 19 ms instead of 3.
            "commitlog_sync": "periodic",
            "commitlog_sync_period": "10s",
            "concurrent_writes": 16,
            "commitlog_segment_size": "16MiB",
            "data_file_directories": [str(folder / "data")],
            "commitlog_directory": str(folder / "commitlog"),
            "saved_caches_directory": str(folder / "saved_caches"),
            "hints_directory": str(folder / "hints"),
            "cdc_raw_directory": str(folder / "cdc_raw"),
            "hinted_handoff_enabled": True,
            "auto_snapshot": False,
        }

    def options(self, folder: Path, jars: Path) -> list[str]:
        """What Java is told for a node."""
        properties = {
            "cassandra.config": (folder / "cassandra.yaml").as_uri(),
            "cassandra.storagedir": folder,
            "cassandra.triggers_dir": folder / "triggers",
            "logback.configurationFile": (folder / "logback.xml").as_uri(),
            "cassandra-foreground": "yes",
            "cassandra.ring_delay_ms": 100 if self.alone else 2000,
            "cassandra.skip_wait_for_gossip_to_settle": 0,
            "cassandra.superuser_setup_delay_ms": 0 if self.alone else 1000,
            "cassandra.shutdown_announce_in_ms": 0,
            "cassandra.consistent.rangemovement": "false",
            "jdk.attach.allowAttachSelf": "true",
            "io.netty.tryReflectionSetAccessible": "true",
        }
        return [
            *_memory(alone=self.alone),
            *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTED),
            *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENED),
            *(f"-javaagent:{agent}" for agent in jars.glob("jamm-*.jar")),
            *(f"-D{name}={value}" for name, value in properties.items()),
        ]


def _memory(*, alone: bool) -> tuple[str, ...]:
    # A heap that begins small is collected whole again and again before it grows. A small young
    # generation makes short pauses; the serial collector needs the least of few cores.
    size = 1024 if alone else 512
    heap = (f"-Xms{size}m", f"-Xmx{size}m", "-Xmn128m", "-Xss512k", "-XX:+UseSerialGC")
    return (*heap, "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData")


def _limits() -> dict[str, object]:
    return {
        "batch_size_warn_threshold": "50KiB",
        "batch_size_fail_threshold": "50KiB",
        # A tenth of the default: tests have little data.
        "tombstone_warn_threshold": 100,
        "unlogged_batch_across_partitions_warn_threshold": 2000,
        # As Cassandra's own `cassandra_latest.yaml` has it. Memtables on the heap are copied from
        # one generation to the next: at 5,000 messages/s all stood still for 140 ms, twice in 30 s.
        "memtable": {
            "configurations": {
                "trie": {"class_name": "TrieMemtable"},
                "default": {"inherits": "trie"},
            }
        },
        "memtable_allocation_type": "offheap_objects",
        "memtable_heap_space": "96MiB",
        "memtable_offheap_space": "96MiB",
        "key_cache_size": "16MiB",
        "counter_cache_size": "0MiB",
        "file_cache_size": "64MiB",
        "networking_cache_size": "32MiB",
        "concurrent_reads": 16,
        "concurrent_compactors": 1,
    }
