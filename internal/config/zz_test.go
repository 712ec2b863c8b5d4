package config
import ("testing";"time";"strings";"fmt")
func TestZZ(t *testing.T){
 for _,s:=range []string{
  "services: [&a {name: a, address: \"1.1.1.1:80\", servers: [&s {adress: 1, weight: x}"+strings.Repeat(",*s",2000)+"]}"+strings.Repeat(", *a",400)+"]",
  "services: [&a {name: a, address: \"1.1.1.1:80\", servers: [&s 10.0.0.1"+strings.Repeat(",*s",2000)+"]}"+strings.Repeat(", *a",400)+"]",
  "services: [&a {name: a, address: [\"1.1.1.1:1-4096\"], servers: [&s 10.0.0.1"+strings.Repeat(",*s",200)+"]}"+strings.Repeat(", *a",2000)+"]",
  "services: [{name: a, address: [&x \"1.1.1.1:1-60\""+strings.Repeat(",*x",100000)+"], servers: []}]",
  func()string{var b strings.Builder;b.WriteString("services:\n");for i:=0;i<11000;i++{fmt.Fprintf(&b,"  - name: s%d\n    address: 10.%d.%d.1:80\n    servers: [10.0.0.1, {address: 10.0.0.2, weight: 3}]\n",i,i/250,i%250)};return b.String()}(),
  func()string{var b strings.Builder;b.WriteString("services:\n");for i:=0;i<11000;i++{fmt.Fprintf(&b,"  - nam: s%d\n    addres: 10.%d.%d.1:80\n    servers: [10.0.0.1, {address: 10.0.0.2, weight: x}]\n",i,i/250,i%250)};return b.String()}(),
  strings.Repeat("[",9000)+strings.Repeat("]",9000),
  "a: "+strings.Repeat("{b: ",9000)+strings.Repeat("}",9000),
  "log: {"+strings.Repeat("? a\n,",10000)+"}",
  "log: {"+func()string{var b strings.Builder;for i:=0;i<50000;i++{fmt.Fprintf(&b,"k%d: 1,",i)};return b.String()}()+"}",
 }{
  st:=time.Now(); c,err:=Parse("x",[]byte(s)); n:=0; if e,ok:=err.(Errors);ok{n=len(e)}; _=c
  fmt.Println(len(s),time.Since(st),n)
 }
}
