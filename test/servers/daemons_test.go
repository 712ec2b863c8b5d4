package servers

import (
	"net"
	"strconv"

	"baton/internal/check"
	"baton/test/lab"
)

const secret = "s3cret"

func is(codes ...check.Code) []check.Code { return codes }

// The kinds in short.
func http(h check.HTTP) check.Spec   { return check.Spec{HTTP: &h} }
func smtp(m check.SMTP) check.Spec   { return check.Spec{SMTP: &m} }
func dns(d check.DNS) check.Spec     { return check.Spec{DNS: &d} }
func talk(t check.Talk) check.Spec   { return check.Spec{Talk: &t} }
func say(protocol string) check.Spec { return talk(check.Talk{Protocol: protocol}) }

// trusted is TLS verified by the test's own authority.
func (s *stand) trusted() *check.TLS {
	return &check.TLS{Verify: true, CAFile: s.path("cert.pem"), ServerName: "www.example.net"}
}

// other is TLS with a server of another name.
func (s *stand) other() *check.TLS {
	return &check.TLS{Verify: true, CAFile: s.path("cert.pem"), ServerName: "mail.example.org"}
}

// certificate makes cert.pem and key.pem.
func (s *stand) certificate() {
	s.Helper()
	s.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
		"-subj", "/CN=www.example.net", "-addext", "subjectAltName=DNS:www.example.net", "-keyout", "key.pem", "-out", "cert.pem")
	s.run("chmod", "644", "key.pem")
}

var daemons = []daemon{
	{
		name: "nginx",
		prepare: func(s *stand) []string {
			s.certificate()
			s.file("htpasswd", "lb:{PLAIN}"+secret+"\n")
			s.file("password", secret+"\n")
			s.file("bad", "other\n")
			return []string{"/usr/sbin/nginx", "-e", "stderr", "-p", s.dir, "-c", s.file("nginx.conf", `daemon off;
user root;
worker_processes 2;
pid DIR/pid;
error_log stderr;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
  ssl_certificate DIR/cert.pem;
  ssl_certificate_key DIR/key.pem;
  server {
    listen 80; listen 81 http2; listen 443 ssl http2;
    location = / { return 200 "hello"; }
    location = /moved { return 302 /; }
    location = /secret { auth_basic x; auth_basic_user_file DIR/htpasswd; try_files /nothing @ok; }
    location @ok { return 200 "in"; }
  }
}
`)}
		},
		right: func(s *stand) []question {
			return []question{
				{80, http(check.HTTP{ExpectBody: "hello"}), is(check.L7OK), "200"},
				{80, http(check.HTTP{Version: "1.0", BodyMD5: "5d41402abc4b2a76b9719d911017c592"}), is(check.L7OK), ""},
				{80, http(check.HTTP{Method: "HEAD"}), is(check.L7OK), ""},
				{80, http(check.HTTP{Path: "/moved", Follow: 1}), is(check.L7OK), ""},
				{80, http(check.HTTP{Path: "/secret", Username: "lb", PasswordFile: s.path("password")}), is(check.L7OK), ""},
				{80, check.Spec{TCP: &check.TCP{}}, is(check.L4OK), ""},
				{80, check.Spec{TCP: &check.TCP{Send: "GET / HTTP/1.0\r\n\r\n", Expect: "HTTP/1.1 200"}}, is(check.L7OK), ""},
				{81, http(check.HTTP{Version: "2", ExpectBody: "hello"}), is(check.L7OK), ""},
				{443, http(check.HTTP{TLS: s.trusted(), ExpectBody: "hello"}), is(check.L7OK), ""},
				{443, http(check.HTTP{Version: "2", TLS: s.trusted(), ExpectBody: "hello"}), is(check.L7OK), ""},
				{443, check.Spec{TLS: s.trusted()}, is(check.L6OK), ""},
			}
		},
		wrong: func(s *stand) []question {
			month := s.trusted()
			month.MinDaysLeft = 31
			return []question{
				{80, http(check.HTTP{Path: "/missing"}), is(check.L7STS), "404"},
				{80, http(check.HTTP{Path: "/moved"}), is(check.L7STS), "302"},
				{80, http(check.HTTP{ExpectBody: "bye"}), is(check.L7RSP), ""},
				{80, http(check.HTTP{Path: "/secret"}), is(check.L7STS), "401"},
				{80, http(check.HTTP{Path: "/secret", Username: "lb", PasswordFile: s.path("bad")}), is(check.L7STS), "401"},
				{80, http(check.HTTP{TLS: &check.TLS{}}), is(check.L6RSP), ""},
				{80, http(check.HTTP{Version: "2"}), is(check.L7RSP, check.L7STS), ""},
				{443, http(check.HTTP{}), is(check.L7STS), "400"},
				{443, check.Spec{TLS: s.other()}, is(check.L6RSP), "mail.example.org"},
				{443, check.Spec{TLS: &check.TLS{Verify: true, ServerName: "www.example.net"}}, is(check.L6RSP), ""},
				{443, check.Spec{TLS: month}, is(check.L6RSP, check.L7RSP), ""},
				{80, say("redis"), is(check.L7RSP, check.L7STS), ""},
			}
		},
	},
	{
		name: "dnsmasq",
		prepare: func(s *stand) []string {
			return []string{
				"/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--user=root", "--pid-file=",
				"--log-facility=-", "--local=/example.net/", "--host-record=www.example.net,192.0.2.1,2001:db8::1", "--mx-host=example.net,mail.example.net,10",
			}
		},
		right: func(*stand) []question {
			return []question{
				{53, dns(check.DNS{Name: "www.example.net", Type: "A", Expect: []string{"192.0.2.1"}}), is(check.L7OK), ""},
				{53, dns(check.DNS{Name: "www.example.net", Type: "AAAA", TCP: true, Expect: []string{"2001:db8::1"}}), is(check.L7OK), ""},
				{53, dns(check.DNS{Name: "example.net", Type: "MX", Expect: []string{"10 mail.example.net."}}), is(check.L7OK), ""},
				{53, dns(check.DNS{Name: "nobody.example.net", Type: "A", RCode: "NXDOMAIN"}), is(check.L7OK), ""},
			}
		},
		wrong: func(*stand) []question {
			return []question{
				{53, dns(check.DNS{Name: "nobody.example.net", Type: "A"}), is(check.L7STS), "NXDOMAIN"},
				{53, dns(check.DNS{Name: "www.example.org", Type: "A"}), is(check.L7STS), "REFUSED"},
				{53, dns(check.DNS{Name: "www.example.net", Type: "A", Expect: []string{"192.0.2.2"}}), is(check.L7RSP), "192.0.2.1"},
				{53, dns(check.DNS{Name: "www.example.net", Type: "TXT"}), is(check.L7RSP), ""},
			}
		},
	},
	{
		name: "exim",
		prepare: func(s *stand) []string {
			s.certificate()
			s.folder("spool")
			s.folder("log")
			return []string{"/usr/sbin/exim4", "-bdf", "-C", s.file("exim.conf", `primary_hostname = www.example.net
daemon_smtp_ports = 25 : 465
tls_on_connect_ports = 465
tls_advertise_hosts = *
tls_certificate = DIR/cert.pem
tls_privatekey = DIR/key.pem
spool_directory = DIR/spool
log_file_path = DIR/log/%slog
pid_file_path = DIR/pid
host_lookup =
rfc1413_query_timeout = 0s
never_users =
`)}
		},
		right: func(s *stand) []question {
			return []question{
				{25, smtp(check.SMTP{Expect: "ESMTP Exim"}), is(check.L7OK), ""},
				{25, smtp(check.SMTP{StartTLS: true, TLS: s.trusted()}), is(check.L7OK), ""},
				{465, smtp(check.SMTP{TLS: s.trusted(), Helo: "lb.example.net"}), is(check.L7OK), ""},
			}
		},
		wrong: func(s *stand) []question {
			return []question{
				{25, smtp(check.SMTP{Expect: "Postfix"}), is(check.L7RSP), "Exim"},
				{25, smtp(check.SMTP{StartTLS: true, TLS: s.other()}), is(check.L6RSP), ""},
				{25, smtp(check.SMTP{TLS: s.trusted()}), is(check.L6RSP), ""},
				{25, say("imap"), is(check.L7RSP), ""},
			}
		},
	},
	{
		name: "dovecot",
		prepare: func(s *stand) []string {
			s.certificate()
			s.folder("state")
			return []string{"/usr/sbin/dovecot", "-F", "-c", s.file("dovecot.conf", `protocols = imap pop3
base_dir = DIR/run
state_dir = DIR/state
log_path = /dev/stderr
ssl = yes
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
passdb {
  driver = static
  args = password=x
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}
`)}
		},
		right: func(s *stand) []question {
			return []question{
				{143, say("imap"), is(check.L7OK), ""},
				{110, say("pop3"), is(check.L7OK), ""},
				{993, talk(check.Talk{Protocol: "imap", TLS: s.trusted()}), is(check.L7OK), ""},
				{995, talk(check.Talk{Protocol: "pop3", TLS: s.trusted()}), is(check.L7OK), ""},
			}
		},
		wrong: func(s *stand) []question {
			return []question{
				{143, say("pop3"), is(check.L7RSP), ""},
				{110, say("imap"), is(check.L7RSP), ""},
				{993, talk(check.Talk{Protocol: "imap", TLS: s.other()}), is(check.L6RSP), ""},
				{143, say("nntp"), is(check.L7RSP), ""},
			}
		},
	},
	{
		name: "vsftpd",
		prepare: func(s *stand) []string {
			s.run("mkdir", "empty")
			return []string{"/usr/sbin/vsftpd", s.file("vsftpd.conf", `listen=YES
background=NO
anonymous_enable=YES
max_clients=0
secure_chroot_dir=DIR/empty
nopriv_user=nobody
seccomp_sandbox=NO
ftpd_banner=files of example.net
`)}
		},
		right: func(*stand) []question { return []question{{21, say("ftp"), is(check.L7OK), "files of example.net"}} },
		wrong: func(*stand) []question {
			return []question{
				{21, smtp(check.SMTP{}), is(check.L7STS, check.L7RSP), ""},
				{21, say("pop3"), is(check.L7RSP), ""},
				{21, talk(check.Talk{Protocol: "ftp", TLS: &check.TLS{}}), is(check.L6RSP), ""},
			}
		},
	},
	{
		name: "slapd",
		prepare: func(s *stand) []string {
			s.certificate()
			s.folder("db")
			return []string{"/usr/sbin/slapd", "-d", "0", "-h", "ldap://:389 ldaps://:636", "-f", s.file("slapd.conf", `modulepath /usr/lib/ldap
moduleload back_mdb
pidfile DIR/pid
TLSCertificateFile DIR/cert.pem
TLSCertificateKeyFile DIR/key.pem
database mdb
maxsize 1048576
suffix cn=files
directory DIR/db
`)}
		},
		right: func(s *stand) []question {
			return []question{
				{389, say("ldap"), is(check.L7OK), ""},
				{636, talk(check.Talk{Protocol: "ldap", TLS: s.trusted()}), is(check.L7OK), ""},
			}
		},
		wrong: func(s *stand) []question {
			return []question{
				{389, say("postgresql"), is(check.L7RSP, check.L4CON), ""},
				{636, talk(check.Talk{Protocol: "ldap", TLS: s.other()}), is(check.L6RSP), ""},
			}
		},
	},
	{
		name: "postgresql",
		prepare: func(s *stand) []string {
			bin := s.first("/usr/lib/postgresql/*/bin")
			s.folder("data")
			s.file("password", secret+"\n")
			s.run("chown", "postgres:", s.path("data"))
			s.run("chmod", "700", s.path("data"))
			as := []string{"/usr/bin/setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"}
			s.run(append(as, bin+"/initdb", "-D", s.path("data"), "-U", "postgres", "--auth=scram-sha-256", "--pwfile", s.path("password"), "--no-sync", "--no-locale")...)
			s.file("data/pg_hba.conf", "host all outcast all reject\nhost all guest all trust\nhost all all all scram-sha-256\n")
			return append(as, bin+"/postgres", "-D", s.path("data"), "-k", "", "-c", "listen_addresses=*", "-c", "fsync=off", "-c", "shared_buffers=8MB")
		},
		right: func(*stand) []question {
			return []question{
				{5432, say("postgresql"), is(check.L7OK), ""},
				{5432, talk(check.Talk{Protocol: "postgresql", User: "postgres", Database: "template1"}), is(check.L7OK), ""},
			}
		},
		wrong: func(*stand) []question {
			return []question{
				{5432, talk(check.Talk{Protocol: "postgresql", User: "outcast"}), is(check.L7STS), "28000"},
				{5432, talk(check.Talk{Protocol: "postgresql", User: "guest"}), is(check.L7STS), "28000"},
				{5432, talk(check.Talk{Protocol: "postgresql", User: "postgres", Database: "nothing"}), is(check.L7OK), "password"},
				{5432, say("mysql"), is(check.L7TOUT), ""},
			}
		},
	},
	{
		name: "mariadb",
		prepare: func(s *stand) []string {
			s.folder("data")
			return []string{
				"/usr/sbin/mariadbd", "--no-defaults", "--user=root", "--datadir=" + s.path("data"), "--socket=" + s.path("socket"),
				"--pid-file=" + s.path("pid"), "--skip-grant-tables", "--max-connections=10", "--innodb-buffer-pool-size=8M",
				"--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0", "--skip-networking=0", "--tmpdir=" + s.dir,
			}
		},
		right: func(*stand) []question { return []question{{3306, say("mysql"), is(check.L7OK), "MariaDB"}} },
		wrong: func(s *stand) []question {
			release := s.hold(3306, 11)
			defer release()
			full := question{3306, say("mysql"), is(check.L7STS), "Too many connections"}
			if err := full.judge(s.ask(full, lab.Patience(enough)), full.codes...); err != nil {
				s.Error(err)
			}
			return []question{{3306, say("postgresql"), is(check.L7RSP, check.L7STS), ""}}
		},
	},
	{
		name: "redis",
		prepare: func(s *stand) []string {
			s.file("password", secret+"\n")
			s.file("bad", "other\n")
			return []string{
				"/usr/bin/redis-server", "--bind", address, "--port", "6379", "--requirepass", secret, "--save", "", "--daemonize", "no", "--dir", s.dir,
			}
		},
		right: func(s *stand) []question {
			return []question{
				{6379, talk(check.Talk{Protocol: "redis", PasswordFile: s.path("password")}), is(check.L7OK), ""},
				{6379, talk(check.Talk{Protocol: "redis", User: "default", PasswordFile: s.path("password")}), is(check.L7OK), ""},
			}
		},
		wrong: func(s *stand) []question {
			return []question{
				{6379, say("redis"), is(check.L7OK), "wants a password"},
				{6379, talk(check.Talk{Protocol: "redis", PasswordFile: s.path("bad")}), is(check.L7STS), "WRONGPASS"},
			}
		},
	},
	{
		name: "chrony",
		prepare: func(s *stand) []string {
			return []string{"/usr/sbin/chronyd", "-d", "-x", "-u", "root", "-f", s.file("chrony.conf", `local stratum 10
allow
cmdport 0
bindcmdaddress /
pidfile DIR/pid
`)}
		},
		right: func(*stand) []question { return []question{{123, say("ntp"), is(check.L7OK), "10"}} },
		wrong: func(*stand) []question {
			return []question{{123, talk(check.Talk{Protocol: "ntp", MaxStratum: 9}), is(check.L7STS), "stratum 10"}}
		},
	},
	{
		name: "freeradius",
		prepare: func(s *stand) []string {
			s.file("secret", secret+"\n")
			s.file("bad", "other\n")
			s.file("dictionary", "")
			s.file("radiusd.conf", `prefix = /usr
localstatedir = DIR
raddbdir = DIR
logdir = DIR
run_dir = DIR
libdir = /usr/lib/freeradius
pidfile = DIR/pid
security {
  allow_core_dumps = no
  max_attributes = 200
  reject_delay = 0
  status_server = yes
}
client all {
  ipaddr = 127.0.0.0/8
  secret = `+secret+`
}
modules {
  always reject {
    rcode = reject
  }
}
server default {
  listen {
    type = auth
    ipaddr = *
    port = 1812
  }
  authorize {
    reject
  }
}
`)
			return []string{"/usr/sbin/freeradius", "-f", "-l", "stdout", "-d", s.dir}
		},
		right: func(s *stand) []question {
			return []question{
				{1812, talk(check.Talk{Protocol: "radius", SecretFile: s.path("secret")}), is(check.L7OK), ""},
				{1812, talk(check.Talk{Protocol: "radius", SecretFile: s.path("secret"), User: "lb", PasswordFile: s.path("bad")}), is(check.L7OK), ""},
			}
		},
		wrong: func(s *stand) []question {
			return []question{{1812, talk(check.Talk{Protocol: "radius", SecretFile: s.path("bad")}), is(check.L7TOUT), ""}}
		},
	},
	{
		name: "kamailio",
		prepare: func(s *stand) []string {
			return []string{"/usr/sbin/kamailio", "-DD", "-E", "-m", "16", "-M", "4", "-P", s.path("pid"), "-Y", s.dir, "-f", s.file("kamailio.cfg", `#!KAMAILIO
log_stderror=yes
children=1
tcp_children=1
listen=udp:`+address+`:5060
listen=tcp:`+address+`:5060
listen=udp:`+address+`:5070
mpath="`+s.first("/usr/lib/*/kamailio/modules")+`"
loadmodule "sl.so"
request_route {
  if (dst_port == 5070) {
    sl_send_reply("503", "Service Unavailable");
    exit;
  }
  sl_send_reply("200", "OK");
}
`)}
		},
		right: func(*stand) []question {
			return []question{
				{5060, say("sip"), is(check.L7OK), "200"},
				{5060, talk(check.Talk{Protocol: "sip", TCP: true}), is(check.L7OK), "200"},
			}
		},
		wrong: func(*stand) []question {
			return []question{{5070, say("sip"), is(check.L7STS), "503"}}
		},
	},
}

// hold opens connections and keeps them until they are released.
func (s *stand) hold(port, n int) (release func()) {
	s.Helper()
	var all []net.Conn
	for range n {
		c, err := s.host.Dial(s.Context(), "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		s.must(err)
		all = append(all, c)
	}
	return func() {
		for _, c := range all {
			_ = c.Close()
		}
	}
}
