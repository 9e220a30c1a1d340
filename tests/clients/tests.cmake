# Stock clients, unchanged, against a broker on the file store. Debian's packages of them belong to the system's Python.
foreach(client kafka_python librdkafka groups)
  add_test(NAME clients.${client} COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/${client}.py $<TARGET_FILE:floe>)
  set_tests_properties(clients.${client} PROPERTIES LABELS clients TIMEOUT 180)
endforeach()
