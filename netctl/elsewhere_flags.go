package netctl

import (
	"slices"
	"strings"
)

// flagsElsewhere has what to do in the place of a flag that docker or podman have and
// netctl does not. A line is the commands it is about, or * for all, their flags, and
// the hint. The first line that fits counts.
const flagsElsewhere = `
exec | privileged | not offered: a program in a container may no more than its first one; 'netctl run --cap-add' gives more to all
exec kill logs attach port rm restart start stats stop top unpause pause inspect wait diff | latest l | 'netctl ps -lq' prints the ID of the last container
exec | preserve-fds preserve-fd | not offered: a program in a container has its standard streams only
exec kill logs rm start stop restart pause unpause | cidfile | 'netctl VERB $(cat FILE)' reads the ID
ps | pod p namespace ns sync external | there are no pods; 'netctl ps --format' with .Networks, .Ports and other fields, or 'netctl inspect', shows the rest
ps | watch w | 'watch netctl ps', or 'netctl events', which tells of each change
ps images | sort | 'netctl VERB --format "{{.FIELD}} ..." | sort' puts lines in order
logs | color names | 'netctl logs' is about one container
rm | link depend | there are no links, and 'rm' removes what joined the container by name only
rm stop start kill restart pause unpause | filter f | 'netctl ps -aq --filter ...' finds them: netctl VERB $(netctl ps -aq --filter KEY=VALUE)
rm | time t | 'netctl stop -t SECONDS' first, then 'netctl rm'
restart | running | 'netctl restart --all' is about those that run
port | all a | 'netctl ps' shows the ports of all
wait | condition interval ignore i | it waits for the end, and needs no interval; 'netctl events --filter event=start' waits for others
stats | interval i no-reset | it is shown anew each second; --no-stream shows it once
stats top | noheading | --format chooses columns, 'tail -n +2' leaves the heads out
events | stream no-trunc | it goes on until --until or Ctrl-C, and nothing is shortened
images | tree history | 'netctl image inspect' and 'netctl history' say what is in an image
pull | all-tags a policy | one image is fetched, each time: 'netctl pull NAME:TAG'; 'netctl run --pull' chooses
rmi | no-prune all a ignore i | 'netctl image prune -a' removes all that no container uses; -f is silent about missing ones
save | format compress multi-image-archive m uncompressed | the archive is docker's and OCI's format at once; gzip it for a smaller one
save | quiet q | it says nothing anyway
save rmi history inspect | platform | one platform is kept of an image: the one that was pulled
history | human H | --format '{{.Size}}' and the other fields are what can be chosen
volume/create | ignore | an existing volume is no error
volume/create | uid gid | a new volume has the owner of the directory in the image that it is mounted on
volume/rm | all a time t | 'netctl volume prune -a' removes all that no container uses
system | build external | netctl builds no images
network | config-only config-from ingress scope | Swarm's; '-d overlay' makes a network that spans hosts without it
network/connect | link link-local-ip | not offered: on one network containers reach each other by name, and by --alias
network/rm | time t | 'netctl rm -f CONTAINER' ends what uses the network first
* | privileged | not offered; give what is missing with --cap-add, --device, --security-opt or -v
* | link link-local-ip | not offered: on one network containers reach each other by name, and by --network-alias
* | gpus device-cgroup-rule | not offered: --device names what a container may open, one for each node of a GPU (/dev/dri, /dev/nvidia0 ...)
* | pid ipc uts cgroupns | not offered: these namespaces are always the container's own; 'netctl exec' and 'netctl top' look inside
* | pod pod-id-file | there are no pods: 'netctl run --network container:NAME' shares a network as in a pod
* | log-driver log-opt | not offered: logs are files of 10 MB, the last 3 are kept; 'netctl logs' reads them
* | annotation | not offered: --label keeps what you want to know of a container
* | blkio-weight-device | not offered: --blkio-weight is for all devices, --device-read-bps and its like limit one
* | cpu-rt-period cpu-rt-runtime cpu-count cpu-percent io-maxbandwidth io-maxiops isolation | not offered; --cpus limits processor time, --device-read-bps and its like limit disks
* | kernel-memory memory-swappiness oom-kill-disable | not offered: newer kernels (cgroup v2) don't have it; --memory and --oom-score-adj are what there is
* | cgroup-parent cgroups cgroup-conf rdt-class | not offered: containers' cgroups are below /netctl
* | disable-content-trust signature-policy seccomp-policy decryption-key | leave it out: digests are always verified, signatures never
* | runtime use-api-socket storage-opt volume-driver init-path personality | not offered: the engine and its overlay file system are built in
* | arch os variant override-arch override-os override-variant | --platform OS/ARCHITECTURE[/VARIANT] says it
* | authfile creds cert-dir | credentials are those of 'docker login' and 'podman login', certificates those in /etc/docker/certs.d
* | retry retry-delay | what may pass is tried three times
* | env-host env-merge unsetenv-all http-proxy | -e NAME passes one of our own variables on, --unsetenv NAME leaves one of the image's out
* | tz | '-e TZ=Europe/Berlin', or '-v /etc/localtime:/etc/localtime:ro'
* | no-hosts no-hostname hosts-file | not offered: /etc/hosts and /etc/hostname are netctl's; a bind mount with -v hides them
* | systemd sdnotify | not offered: a unit of Type=exec that runs 'netctl run' in the foreground, without -d, is told of its end (docs/containers.md)
* | conmon-pidfile pidfile | 'netctl inspect -f {{.State.Pid}} NAME' prints it
* | preserve-fds preserve-fd | not offered: a program in a container has its standard streams only
* | secret | '-v FILE:/run/secrets/NAME:ro' shows it a file
* | subuidname subgidname | --userns auto takes a free range, --uidmap and --gidmap name one
* | passwd passwd-entry group-entry hostuser | not offered: the image's /etc/passwd stays as it is; -u takes numbers, too
* | image-volume | an image's volumes are made as nameless volumes; --tmpfs or -v on their path take their place
* | read-only-tmpfs shm-size-systemd | --tmpfs /run, --tmpfs /tmp: with --read-only nothing is writable that you did not name
* | requires init-ctr infra-name | not offered: start them in order; --restart tries again what came too early
* | health-on-failure health-startup-cmd health-startup-interval health-startup-retries health-startup-success health-startup-timeout | not offered: --health-cmd, and --health-start-period for a slow start
* | timeout | 'netctl run ... timeout 60 COMMAND' ends it after 60 seconds
* | rmi | 'netctl rmi NAME' removes the image afterwards
* | chrootdirs | not offered
* | rootless-netns | not offered: netctl runs as root
`

// elsewhereFlag is what to do in the place of a flag that a command does not have;
// empty for one that nobody has. command is its path, such as "netctl container rm".
func elsewhereFlag(command, flag string) string {
	_, path, _ := strings.Cut(command, " ")
	path = topLevel(path)
	group, verb, _ := strings.Cut(path, " ")
	if verb == "" {
		verb = group
	}
	for line := range strings.Lines(flagsElsewhere) {
		part := strings.SplitN(strings.TrimSpace(line), " | ", 3)
		if len(part) != 3 || !slices.Contains(strings.Fields(part[1]), flag) {
			continue
		}
		commands := strings.Fields(part[0])
		if slices.ContainsFunc(commands, func(c string) bool {
			return c == "*" || c == group || c == strings.ReplaceAll(path, " ", "/")
		}) {
			return strings.ReplaceAll(part[2], "VERB", verb)
		}
	}
	return ""
}

// topLevel is the short spelling of a command that docker has at two places.
func topLevel(path string) string {
	switch path {
	case "container ls":
		return "ps"
	case "image ls":
		return "images"
	case "image rm":
		return "rmi"
	}
	for _, group := range []string{"container ", "image "} {
		if verb, ok := strings.CutPrefix(path, group); ok {
			return verb
		}
	}
	return path
}
