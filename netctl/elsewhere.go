package netctl

// elsewhereCommand is what to do in the place of a command that docker or podman
// have and netctl does not; empty for a word that nobody has.
func elsewhereCommand(name string) string {
	switch name {
	case "build", "buildx", "builder", "commit":
		return "netctl makes no images: it takes what other programs made, with 'netctl pull' or 'netctl load'"
	case "push", "manifest":
		return "netctl fetches from registries only; 'netctl save -o FILE IMAGE' writes what other programs can push"
	case "login", "logout":
		return "the credentials that 'docker login' or 'podman login' wrote are used as they are"
	case "search":
		return "netctl searches no registries; 'netctl pull NAME' fetches an image whose name you know"
	case "export":
		return "'netctl cp CONTAINER:/ -' writes a container's files as an archive"
	case "import":
		return "unpack the archive, and give its directory in the place of an image: 'netctl run ./DIR COMMAND'"
	case "update":
		return "what containers and networks are made with stays: remove it and make it again"
	case "compose", "pod", "kube":
		return "netctl reads no files of services: 'netctl network create' and a 'netctl run' for each are the same"
	case "swarm", "service", "stack", "node", "config", "secret":
		return "there is no Swarm; 'netctl network create -d overlay' makes networks that span hosts"
	case "context", "machine":
		return "there is no daemon to choose: netctl works on this host, in --state-dir and --data-dir"
	}
	return ""
}
