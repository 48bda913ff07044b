package netctl

import (
	"slices"
	"strings"
)

// commandsElsewhere has what to do in the place of a command that docker or podman have
// and netctl does not. A line is the commands, behind their group where it matters, and
// the hint. The first line that fits counts.
const commandsElsewhere = `
volume/export volume/import | 'netctl run --rm -v VOLUME:/v -w /v alpine tar c .' writes a volume's files, 'tar x' with -i reads them
volume/mount volume/unmount volume/reload | 'netctl volume inspect -f {{.Mountpoint}} VOLUME' is where its files are
system/service system/connection | there is no daemon, and no API to serve: netctl works on this host
system/reset | 'netctl rm -fa', 'netctl system prune -a --volumes' and 'netctl network prune' remove all that is netctl's
system/migrate system/renumber system/check | there is nothing to migrate or to check: 'netctl ps -a' finds what has died
container/clone clone | 'netctl inspect NAME' shows what it was made with; 'netctl run' makes another one
container/checkpoint container/restore checkpoint restore | not offered: processes are not written to disk; 'netctl pause' freezes them
container/cleanup container/init init cleanup | not needed: a container is made and cleaned up by its own monitor
container/mount container/unmount mount unmount umount | 'netctl cp CONTAINER:/ -' writes a container's files as an archive; 'netctl exec' looks at them
container/runlabel runlabel | 'netctl image inspect' shows an image's labels; type the command
image/tree image/diff | 'netctl history IMAGE' shows what its layers are
image/mount image/unmount | 'netctl run --rm IMAGE tar c /' or 'netctl save' gives an image's files
image/scp | 'netctl save IMAGE | ssh HOST netctl load'
image/sign image/trust trust | digests are always verified, signatures never
untag | 'netctl rmi NAME' takes one name of an image away, and the image with its last
network/update | what networks are made with stays: remove it and make it again
generate play quadlet | netctl writes and reads no units or Kubernetes files: a unit of yours runs 'netctl run' (docs/containers.md)
auto-update | 'netctl pull IMAGE' and 'netctl run --replace --name NAME ...' run the newer image
unshare | netctl runs as root; 'netctl run --userns auto' gives a container users of its own
build buildx builder commit farm | netctl makes no images: it takes what other programs made, with 'netctl pull' or 'netctl load'
push manifest artifact | netctl fetches from registries only; 'netctl save -o FILE IMAGE' writes what other programs can push
login logout | the credentials that 'docker login' or 'podman login' wrote are used as they are
search | netctl searches no registries; 'netctl pull NAME' fetches an image whose name you know
export | 'netctl cp CONTAINER:/ -' writes a container's files as an archive
import | unpack the archive, and give its directory in the place of an image: 'netctl run ./DIR COMMAND'
update | what containers and networks are made with stays: remove it and make it again
compose pod kube | netctl reads no files of services: 'netctl network create' and a 'netctl run' for each are the same
secret | '-v FILE:/run/secrets/NAME:ro' shows a container a file
swarm service stack node config | there is no Swarm; 'netctl network create -d overlay' makes networks that span hosts
context machine | there is no daemon to choose: netctl works on this host, in --state-dir and --data-dir
plugin | CNI plugins are programs in --cni-path; a network's configuration list names them
`

// elsewhereCommand is what to do in the place of a command that a group does not have;
// empty for a word that nobody has. group is the group's path, such as "netctl volume".
func elsewhereCommand(group, name string) string {
	_, group, _ = strings.Cut(group, " ")
	for line := range strings.Lines(commandsElsewhere) {
		words, hint, _ := strings.Cut(strings.TrimSpace(line), " | ")
		list := strings.Fields(words)
		if slices.Contains(list, group+"/"+name) || slices.Contains(list, name) {
			return hint
		}
	}
	return ""
}
