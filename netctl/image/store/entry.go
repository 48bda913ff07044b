package store

import (
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/netctl/netctl/netctl/image"
)

// enter puts an image into the index under names. Names by digest are no
// entries of their own: they are among an entry's digests.
func enter(index *v1.IndexManifest, entry v1.Descriptor, names []image.Reference) {
	for _, ref := range names {
		if ref.Tag() == "" {
			continue
		}
		removeName(index, ref.String())
		named := entry
		named.Annotations = maps.Clone(entry.Annotations)
		named.Annotations[nameAnnotation] = ref.String()
		index.Manifests = append(index.Manifests, named)
	}
	if !slices.ContainsFunc(index.Manifests, func(d v1.Descriptor) bool { return idOf(d) == idOf(entry) }) {
		index.Manifests = append(index.Manifests, entry)
		return
	}
	// A nameless entry has done its duty once there is one with a name.
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool {
		return idOf(d) == idOf(entry) && d.Annotations[nameAnnotation] == "" && hasName(index, idOf(d))
	})
}

func hasName(index *v1.IndexManifest, id image.ID) bool {
	return slices.ContainsFunc(index.Manifests, func(d v1.Descriptor) bool {
		return idOf(d) == id && d.Annotations[nameAnnotation] != ""
	})
}

// removeName takes a name from the image that has it, which stays in the index
// without one if it was its last.
func removeName(index *v1.IndexManifest, name string) {
	i := slices.IndexFunc(index.Manifests, func(d v1.Descriptor) bool { return d.Annotations[nameAnnotation] == name })
	if i < 0 {
		return
	}
	old := index.Manifests[i]
	index.Manifests = slices.Delete(index.Manifests, i, i+1)
	if !slices.ContainsFunc(index.Manifests, func(d v1.Descriptor) bool { return idOf(d) == idOf(old) }) {
		old.Annotations = maps.Clone(old.Annotations)
		delete(old.Annotations, nameAnnotation)
		index.Manifests = append(index.Manifests, old)
	}
}

// removeImage takes all entries of an image out.
func removeImage(index *v1.IndexManifest, id image.ID) {
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return idOf(d) == id })
}
