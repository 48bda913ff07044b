package image

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Reference is the whole name of an image: registry, repository and a tag or
// digest.
type Reference struct{ ref name.Reference }

// hub is docker's registry, whose name may be left out; ggcr knows it by the
// name of its host.
const (
	hub     = "docker.io"
	hubHost = name.DefaultRegistry
)

// repositoryName is the grammar of the distribution specification ("name"), which
// ggcr does not insist on.
var repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// ParseReference reads a name as users of docker type it: alpine stands for
// docker.io/library/alpine:latest.
func ParseReference(text string) (Reference, error) {
	full := text
	if rest, ok := strings.CutPrefix(text, hub+"/"); ok {
		full = hubHost + "/" + rest
	}
	ref, err := name.ParseReference(full)
	if err != nil || text == "" || strings.HasPrefix(text, ".") || !repositoryName.MatchString(ref.Context().RepositoryStr()) {
		return Reference{}, fmt.Errorf("invalid image name %q: want [REGISTRY/]REPOSITORY[:TAG|@DIGEST] in lower case", text)
	}
	return Reference{ref}, nil
}

// IsZero tells whether it is no reference at all.
func (r Reference) IsZero() bool { return r.ref == nil }

// Name is the reference for ggcr.
func (r Reference) Name() name.Reference { return r.ref }

// Registry is the registry's host, and port if it has one.
func (r Reference) Registry() string {
	return strings.Replace(r.ref.Context().RegistryStr(), hubHost, hub, 1)
}

// Repository is the name without tag or digest.
func (r Reference) Repository() string { return r.Registry() + "/" + r.ref.Context().RepositoryStr() }

// String is the whole name.
func (r Reference) String() string {
	if r.Digest() != "" {
		return r.Repository() + "@" + r.Digest()
	}
	return r.Repository() + ":" + r.Tag()
}

// Tag is empty if there is a digest.
func (r Reference) Tag() string {
	if tag, ok := r.ref.(name.Tag); ok {
		return tag.TagStr()
	}
	return ""
}

// Digest is empty if there is a tag.
func (r Reference) Digest() string {
	if digest, ok := r.ref.(name.Digest); ok {
		return digest.DigestStr()
	}
	return ""
}

// Familiar is the name as docker shows it: without what goes without saying.
func (r Reference) Familiar() string {
	return FamiliarRepository(r.Repository()) + strings.TrimPrefix(r.String(), r.Repository())
}

// FamiliarRepository is a repository as docker shows it.
func FamiliarRepository(repository string) string {
	short, ok := strings.CutPrefix(repository, hub+"/")
	if !ok {
		return repository
	}
	if official := strings.TrimPrefix(short, "library/"); !strings.Contains(official, "/") {
		return official
	}
	return short
}
