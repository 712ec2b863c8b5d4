package discovery

// reader returns who asks a source.
func (d *Discovery) reader(s Source) reader {
	switch {
	case s.DNS != nil:
		return d.newDNSReader(s.DNS)
	case s.Consul != nil:
		return d.newConsulReader(s.Consul)
	}
	return d.newFileReader(s.File)
}
