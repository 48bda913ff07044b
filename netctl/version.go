package netctl

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the module's version as the Go toolchain recorded it, or the
// commit the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision + changed
}

// versionInfo is what `version --format` knows.
type versionInfo struct {
	Version, GoVersion, Os, Arch string
	CNIVersions                  []string
}

// Client and Server are what docker's templates ask: there is one program here.
func (v versionInfo) Client() versionInfo { return v }
func (v versionInfo) Server() versionInfo { return v }

func versionCommand(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			info := versionInfo{
				Version: version(), GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH,
				CNIVersions: []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"},
			}
			text := "Version:       {{.Version}}\nGo version:    {{.GoVersion}}\nOS/Arch:       {{.Os}}/{{.Arch}}\n" +
				"CNI versions:  {{join .CNIVersions \", \"}}"
			switch format {
			case "":
			case "json":
				text = "{{json .}}"
			default:
				text = format
			}
			return showTemplate(app.Stdout, text, []versionInfo{info})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	return cmd
}
